// What `shoal` prints and ends with: one place for JSON, errors and exit codes.
#pragma once

#include <chrono>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "core/error.hpp"

namespace shoal::services {

/// Exit codes of `shoal`, for scripts:
///
///   0  done
///   1  failed: a defect, a damaged file, another protocol, a model that will not run
///   2  the command, the configuration or the request is wrong: change it
///   3  there is no such model, version, file or service
///   4  what is needed is not there: no mesh at the address, a port that is taken (try again later)
///   5  the time was over
///   6  the mesh is full: try again later
int exit_code_of(errc code) noexcept;

/// The sentence to standard error, or with `as_json` `{"error": {"code", "message", "retryable", "retry_after_ms"}}` to
/// standard output, where the answer would have been. Returns the exit code.
int report_error(const error& failure, bool as_json);

/// To standard output. Text that is not UTF-8 (names in hostile files) is made so.
void print_json(const nlohmann::ordered_json& document);

/// As 16 hexadecimal digits: numbers of 64 bits do not survive every JSON reader.
std::string id_text(std::uint64_t id);

/// "3 s", "12 min", "5 h", "9 d".
std::string age_text(std::chrono::seconds age);
/// "512 B", "1.5 KiB", "3.2 GiB".
std::string size_text(double bytes);

/// Adds what to do next to an error of a client verb that does not say so: no mesh, no such model.
error with_next_step(error failure);

}  // namespace shoal::services
