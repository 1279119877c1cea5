#include "core/config.hpp"

#include <cstdlib>

#include <doctest/doctest.h>

#include "unit/support/temporary_folder.hpp"

using namespace shoal;
using namespace std::chrono_literals;

namespace {

struct environment {
  std::string name;
  environment(std::string variable, const char* value) : name(std::move(variable)) { setenv(name.c_str(), value, 1); }
  ~environment() { unsetenv(name.c_str()); }
};

struct options {
  std::string listen = "tcp://127.0.0.1:8002";
  bool probe = true;
  int threads = 1;
  std::size_t max_requests = 4096;
  milliseconds deadline{10000};
  std::vector<std::string> peers{"tcp://a:1"};
  std::string models = "models";

  config keys() {
    config all;
    all.key("gateway", "listen", &listen, "Where clients connect")
        .key("gateway", "probe", &probe, "Whether to infer without traffic")
        .key("gateway", "max_requests", &max_requests, "Held at a time")
        .key("gateway", "deadline_ms", &deadline, "If the client names none")
        .key("worker", "threads", &threads, "Threads of one operator")
        .key("worker", "models", &models, "Folder of models")
        .key("gateway", "peers", &peers, "Schedulers to connect to");  // a section may be named again
    return all;
  }
  bool operator==(const options&) const = default;
};

std::string refusal(const std::string& text) {
  const test::temporary_folder at;
  options o;
  const auto file = at.write("shoal.toml", text);
  const auto loaded = o.keys().load(file, {});
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == errc::invalid_argument);
  REQUIRE(loaded.error().message.starts_with(file));
  return loaded.error().message.substr(file.size());
}

std::string refusal_of_override(const std::string& assignment) {
  options o;
  const auto loaded = o.keys().load("", {assignment});
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().code == errc::invalid_argument);
  return loaded.error().message;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("without a file the defaults stand") {
  options o;
  REQUIRE(o.keys().load("", {}));
  CHECK(o == options{});
}

TEST_CASE("a file sets every kind of value") {
  const test::temporary_folder at;
  options o;
  const auto file = at.write("shoal.toml", R"([gateway]
listen = "tcp://*:9"
probe = false
max_requests = 7
deadline_ms = 250
peers = ["tcp://b:1", "tcp://c:2"]
[worker]
threads = 3
)");
  REQUIRE(o.keys().load(file, {}));
  CHECK(o.listen == "tcp://*:9");
  CHECK_FALSE(o.probe);
  CHECK(o.max_requests == 7);
  CHECK(o.deadline == 250ms);
  CHECK(o.peers == std::vector<std::string>{"tcp://b:1", "tcp://c:2"});
  CHECK(o.threads == 3);
  CHECK(o.models == "models");
}

TEST_CASE("the environment wins over the file, and --set over both") {
  const test::temporary_folder at;
  const auto file = at.write("shoal.toml", "[worker]\nthreads = 2\nmodels = \"file\"\n[gateway]\nlisten = \"file\"\n");
  const environment threads("SHOAL_WORKER_THREADS", "3");
  const environment models("SHOAL_WORKER_MODELS", "environment");
  options o;
  REQUIRE(o.keys().load(file, {"worker.threads=4"}));
  CHECK(o.threads == 4);
  CHECK(o.models == "environment");
  CHECK(o.listen == "file");
}

TEST_CASE("lists in the environment and in --set are separated by commas") {
  const environment peers("SHOAL_GATEWAY_PEERS", "tcp://a:1,tcp://b:2,");
  options o;
  REQUIRE(o.keys().load("", {}));
  CHECK(o.peers == std::vector<std::string>{"tcp://a:1", "tcp://b:2"});
  REQUIRE(o.keys().load("", {"gateway.peers="}));
  CHECK(o.peers.empty());
}

TEST_CASE("a value may contain the signs that part section, key and value") {
  options o;
  REQUIRE(o.keys().load("", {"gateway.listen=tcp://a.b=c:1"}));
  CHECK(o.listen == "tcp://a.b=c:1");
}

TEST_CASE("a wrong value is told with file, line, column and what would be right") {
  CHECK(refusal("[gateway]\nlisten = 1\n") == ":2:10: gateway.listen must be a string");
  CHECK(refusal("[gateway]\nprobe = \"yes\"\n") == ":2:9: gateway.probe must be true or false");
  CHECK(refusal("[worker]\n\n  threads = -1\n") == ":3:13: worker.threads must be an integer, 0 or more");
  CHECK(contains(refusal("[worker]\nthreads = 2147483648\n"), "must be an integer"));
  CHECK(contains(refusal("[worker]\nthreads = 1.5\n"), "must be an integer"));
  CHECK(contains(refusal("[gateway]\ndeadline_ms = \"10s\"\n"), "a number of milliseconds"));
  CHECK(contains(refusal("[gateway]\ndeadline_ms = 9223372036854775807\n"), "a number of milliseconds"));
  CHECK(contains(refusal("[gateway]\npeers = [\"a\", 1]\n"), "a list of strings"));
  CHECK(contains(refusal("[gateway]\npeers = \"a\"\n"), "a list of strings"));
}

TEST_CASE("text that is not TOML is told with line and column") {
  CHECK(refusal("[gateway]\nlisten = \n").starts_with(":2:"));
  CHECK(refusal("[gateway\n").starts_with(":1:"));
}

TEST_CASE("an unknown key is told with the nearest one that exists") {
  CHECK(refusal("[gateway]\nlistn = \"a\"\n") == ":2:9: there is no key gateway.listn; did you mean gateway.listen?");
  CHECK(contains(refusal("[worker]\nmax_request = 1\n"), "did you mean gateway.max_requests?"));
  CHECK_FALSE(contains(refusal("[zebra]\nqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"), "did you mean"));
  CHECK(contains(refusal("listen = \"a\"\n"), "outside a section"));
  CHECK(contains(refusal_of_override("gateway.listn=a"), "did you mean gateway.listen?"));
}

TEST_CASE("wrong overrides and variables are told as they were written") {
  CHECK(contains(refusal_of_override("gateway.listen"), "write section.key=value"));
  CHECK(contains(refusal_of_override("listen=a.b"), "write section.key=value"));
  CHECK(contains(refusal_of_override("worker.threads=two"), "worker.threads=two: must be an integer, 0 or more"));
  CHECK(contains(refusal_of_override("worker.threads=2x"), "must be an integer"));
  CHECK(contains(refusal_of_override("worker.threads=99999999999999999999"), "must be an integer"));
  CHECK(contains(refusal_of_override("gateway.probe=1"), "true or false"));
  const environment probe("SHOAL_GATEWAY_PROBE", "maybe");
  options o;
  const auto loaded = o.keys().load("", {});
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().message == "environment variable SHOAL_GATEWAY_PROBE=maybe: must be true or false");
}

TEST_CASE("a file that cannot be read is not found, and nothing else happens") {
  const test::temporary_folder at;
  options o;
  for (const auto& file : {at.path() / "absent.toml", at.path()}) {
    const auto loaded = o.keys().load(file.string(), {});
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == errc::not_found);
    CHECK(contains(loaded.error().message, file.c_str()));
  }
  CHECK(o == options{});
}

TEST_CASE("what is shown can be loaded again, whatever the strings hold") {
  options shown;
  shown.listen = "a \"quoted\" \\ path\nwith\tsigns \x01\x7f and ümlauts";
  shown.probe = false;
  shown.threads = 12;
  shown.deadline = 1234ms;
  shown.peers = {"one", "\"two\"", "c:\\three"};
  const auto text = shown.keys().to_toml();
  CHECK(contains(text, "# Where clients connect\nlisten = "));

  const test::temporary_folder at;
  options read;
  const auto loaded = read.keys().load(at.write("shoal.toml", text), {});
  if (!loaded) FAIL(loaded.error().message);
  CHECK(read == shown);
}
