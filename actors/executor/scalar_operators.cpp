#include "executor/scalar_operators.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace shoal::executor {

namespace {

using c10::IValue;
using arguments = std::span<const IValue>;

[[noreturn]] void fail_with(const char* what) { throw std::domain_error(what); }

bool both_whole(arguments given) { return !given[0].isDouble() && !given[1].isDouble(); }

std::int64_t whole(const IValue& value) {
  if (value.isInt()) return value.toInt();
  if (value.isBool()) return value.toBool() ? 1 : 0;
  fail_with("an integer is needed");
}

double real(const IValue& value) {
  if (value.isDouble()) return value.toDouble();
  return static_cast<double>(whole(value));
}

bool truth(const IValue& value) {
  if (value.isBool()) return value.toBool();
  fail_with("a boolean is needed");
}

std::int64_t checked(bool overflow, std::int64_t result) {
  if (overflow) fail_with("the result does not fit 64 bits");
  return result;
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == 0) fail_with("division by zero");
  if (b == -1) {
    std::int64_t result = 0;
    const bool overflow = __builtin_sub_overflow(std::int64_t{0}, a, &result);
    return checked(overflow, result);
  }
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

std::int64_t power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) fail_with("a negative exponent");
  std::int64_t result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent) {  // at most 63 rounds before it overflows
    const bool overflow = __builtin_mul_overflow(result, base, &result);
    checked(overflow, result);
  }
  return result;
}

std::int64_t to_whole(double value) {
  if (!(std::abs(value) < 0x1p63)) fail_with("the result does not fit 64 bits");
  return static_cast<std::int64_t>(value);
}

IValue add(arguments x) {
  if (!both_whole(x)) return real(x[0]) + real(x[1]);
  std::int64_t result = 0;
  const bool overflow = __builtin_add_overflow(whole(x[0]), whole(x[1]), &result);
  return checked(overflow, result);
}
IValue subtract(arguments x) {
  if (!both_whole(x)) return real(x[0]) - real(x[1]);
  std::int64_t result = 0;
  const bool overflow = __builtin_sub_overflow(whole(x[0]), whole(x[1]), &result);
  return checked(overflow, result);
}
IValue multiply(arguments x) {
  if (!both_whole(x)) return real(x[0]) * real(x[1]);
  std::int64_t result = 0;
  const bool overflow = __builtin_mul_overflow(whole(x[0]), whole(x[1]), &result);
  return checked(overflow, result);
}
IValue floor_divided(arguments x) {
  if (both_whole(x)) return floor_divide(whole(x[0]), whole(x[1]));
  if (real(x[1]) == 0) fail_with("division by zero");
  return std::floor(real(x[0]) / real(x[1]));
}
IValue modulo(arguments x) {
  if (!both_whole(x)) fail_with("an integer is needed");
  const auto divisor = whole(x[1]);
  if (divisor == -1) return std::int64_t{0};
  return whole(x[0]) - floor_divide(whole(x[0]), divisor) * divisor;
}
IValue divide(arguments x) {
  if (real(x[1]) == 0) fail_with("division by zero");
  return real(x[0]) / real(x[1]);
}
IValue raise(arguments x) {
  if (both_whole(x)) return power(whole(x[0]), whole(x[1]));
  return std::pow(real(x[0]), real(x[1]));
}
IValue negate(arguments x) {
  if (x[0].isDouble()) return -real(x[0]);
  return floor_divide(whole(x[0]), -1);
}
IValue keep(arguments x) { return x[0]; }
IValue truncate(arguments x) { return x[0].isDouble() ? to_whole(std::trunc(real(x[0]))) : whole(x[0]); }
IValue round_up(arguments x) { return x[0].isDouble() ? to_whole(std::ceil(real(x[0]))) : whole(x[0]); }
IValue round_down(arguments x) { return x[0].isDouble() ? to_whole(std::floor(real(x[0]))) : whole(x[0]); }
IValue to_real(arguments x) { return real(x[0]); }
IValue root(arguments x) {
  if (real(x[0]) < 0) fail_with("the root of a negative number");
  return std::sqrt(real(x[0]));
}
IValue larger(arguments x) {
  if (both_whole(x)) return std::max(whole(x[0]), whole(x[1]));
  return std::max(real(x[0]), real(x[1]));
}
IValue smaller(arguments x) {
  if (both_whole(x)) return std::min(whole(x[0]), whole(x[1]));
  return std::min(real(x[0]), real(x[1]));
}
IValue choose(arguments x) { return truth(x[0]) ? x[1] : x[2]; }
IValue logical_not(arguments x) { return !truth(x[0]); }
IValue both(arguments x) {
  if (x[0].isBool() && x[1].isBool()) return truth(x[0]) && truth(x[1]);
  return whole(x[0]) & whole(x[1]);
}
IValue either(arguments x) {
  if (x[0].isBool() && x[1].isBool()) return truth(x[0]) || truth(x[1]);
  return whole(x[0]) | whole(x[1]);
}
IValue shift_left(arguments x) {
  const auto by = whole(x[1]);
  if (by < 0 || by > 62) fail_with("a shift out of range");
  std::int64_t result = 0;
  const bool overflow = __builtin_mul_overflow(whole(x[0]), std::int64_t{1} << by, &result);
  return checked(overflow, result);
}
IValue shift_right(arguments x) {
  const auto by = whole(x[1]);
  if (by < 0 || by > 63) fail_with("a shift out of range");
  return whole(x[0]) >> by;
}

template <class Compare>
IValue compare(arguments x) {
  if (both_whole(x)) return Compare{}(whole(x[0]), whole(x[1]));
  return Compare{}(real(x[0]), real(x[1]));
}

constexpr auto operators = std::to_array<scalar_operator_entry>({
    {"_operator.add", 2, add},
    {"_operator.and_", 2, both},
    {"_operator.eq", 2, compare<std::equal_to<>>},
    {"_operator.floordiv", 2, floor_divided},
    {"_operator.ge", 2, compare<std::greater_equal<>>},
    {"_operator.gt", 2, compare<std::greater<>>},
    {"_operator.le", 2, compare<std::less_equal<>>},
    {"_operator.lshift", 2, shift_left},
    {"_operator.lt", 2, compare<std::less<>>},
    {"_operator.mod", 2, modulo},
    {"_operator.mul", 2, multiply},
    {"_operator.ne", 2, compare<std::not_equal_to<>>},
    {"_operator.neg", 1, negate},
    {"_operator.not_", 1, logical_not},
    {"_operator.or_", 2, either},
    {"_operator.pos", 1, keep},
    {"_operator.pow", 2, raise},
    {"_operator.rshift", 2, shift_right},
    {"_operator.sub", 2, subtract},
    {"_operator.truediv", 2, divide},
    {"math.ceil", 1, round_up},
    {"math.floor", 1, round_down},
    {"math.trunc", 1, truncate},
    {"torch._sym_sqrt", 1, root},
    {"torch.sym_float", 1, to_real},
    {"torch.sym_int", 1, truncate},
    {"torch.sym_ite", 3, choose},
    {"torch.sym_max", 2, larger},
    {"torch.sym_min", 2, smaller},
    {"torch.sym_not", 1, logical_not},
    {"torch.sym_sqrt", 1, root},
});

}  // namespace

const scalar_operator_entry* find_scalar_operator(std::string_view target) noexcept {
  const auto found =
      std::find_if(operators.begin(), operators.end(), [&](const auto& each) { return each.target == target; });
  return found == operators.end() ? nullptr : &*found;
}

}  // namespace shoal::executor
