#include <doctest/doctest.h>

#include "executor/size_expression.hpp"

using shoal::executor::parse_size;

TEST_CASE("sizes linear in one symbol are understood") {
  const auto symbol = parse_size("Symbol('s23', positive=True, integer=True)");
  CHECK((symbol.linear && symbol.symbol == "s23" && symbol.scale == 1 && symbol.offset == 0));
  const auto number = parse_size("Integer(-7)");
  CHECK((number.is_fixed() && number.offset == -7));
  const auto sum = parse_size("Add(Mul(Integer(2), Symbol('s23', positive=True, integer=True)), Integer(-1))");
  CHECK((sum.linear && sum.symbol == "s23" && sum.scale == 2 && sum.offset == -1));
  const auto twice = parse_size("Add(Symbol('a'), Symbol('a'), Integer(3))");
  CHECK((twice.linear && twice.scale == 2 && twice.offset == 3));
  const auto nothing = parse_size("Add(Symbol('a'), Mul(Integer(-1), Symbol('a')))");
  CHECK((nothing.is_fixed() && nothing.offset == 0));
}

TEST_CASE("everything else keeps its text and is not linear") {
  for (const auto* text :
       {"", "Symbol(", "Symbol('s'", "Symbol('s)", "Integer()", "Integer(1", "Integer(99999999999999999999)",
        "Mul(Symbol('a'), Symbol('a'))", "Add(Symbol('a'), Symbol('b'))", "FloorDiv(Symbol('a'), Integer(2))",
        "Integer(1) ", "Add()", "Mul(Integer(9223372036854775807), Integer(2))"}) {
    CAPTURE(text);
    const auto size = parse_size(text);
    CHECK_FALSE(size.linear);
    CHECK(size.text == text);
    CHECK_FALSE(size.is_fixed());
  }
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "Add(";
  CHECK_FALSE(parse_size(deep).linear);
}
