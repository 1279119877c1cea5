"""What is asked tells requests apart: another request's answer, another row's, one bit more is never taken for right."""

import random
import unittest

import numpy as np

from chaos.content import SENTENCES, TOLERANCE, Content


class Judging(unittest.TestCase):
    def setUp(self) -> None:
        self.content = Content(1)
        numbers = np.random.default_rng(1)
        for question in self.content.every_known():
            vector = numbers.normal(size=(1, 384)).astype(np.float32)
            self.content.learn(question, vector / np.linalg.norm(vector))
        self.identities = [q for n in range(200) if (q := self.content.draw(random.Random(n), n)).exact]

    def test_identity_is_bit_for_bit(self) -> None:
        for question in self.identities:
            wanted = question.inputs["x"]
            self.assertTrue(self.content.judge(question, wanted.copy()).is_right)
            other = wanted.copy()
            other[0, -1] = np.nextafter(other[0, -1], np.float32(np.inf))
            self.assertFalse(self.content.judge(question, other).is_right)
            self.assertFalse(self.content.judge(question, wanted[:, :-1]).is_right)

    def test_the_answer_to_another_identity_is_wrong(self) -> None:
        for one, other in zip(self.identities, self.identities[1:]):
            self.assertFalse(self.content.judge(one, other.inputs["x"]).is_right)

    def test_a_sentence_may_be_off_in_the_last_bits_and_no_more(self) -> None:
        question = self.content.every_known()[3]
        wanted = self.content.references["sentence"][3]
        self.assertTrue(self.content.judge(question, wanted + np.float32(TOLERANCE / 2)).is_right)
        self.assertFalse(self.content.judge(question, wanted + np.float32(TOLERANCE * 2)).is_right)

    def test_a_mix_up_is_found_and_named(self) -> None:
        question = self.content.every_known()[3]
        verdict = self.content.judge(question, self.content.references["sentence"][7])
        self.assertFalse(verdict.is_right)
        self.assertIn("nearest to sentence 7", verdict.said)

    def test_the_load_is_a_function_of_the_seed(self) -> None:
        def drawn(seed: int) -> list[bytes]:
            draw, content = random.Random(seed), Content(seed)
            return [next(iter(q.inputs.values())).tobytes() if q.inputs else q.texts[0].encode() for q in (content.draw(draw, n) for n in range(100))]

        self.assertEqual(drawn(5), drawn(5))
        self.assertNotEqual(drawn(5), drawn(6))
        self.assertEqual(len(Content(5).every_known()), 2 * SENTENCES)


if __name__ == "__main__":
    unittest.main()
