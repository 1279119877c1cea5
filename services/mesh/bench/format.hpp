// Numbers in reports for people.
#pragma once

#include <string>

namespace shoal::services::bench {

/// As printf, up to 511 characters.
__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...);

/// A latency in us as milliseconds with three digits: "0.312", "12.3", "1234".
std::string ms_text(double us);

}  // namespace shoal::services::bench
