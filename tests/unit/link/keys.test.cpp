// Who is let in by CURVE, as what, and until when.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "link/curve.hpp"
#include "unit/link/recorder.hpp"
#include "unit/support/temporary_folder.hpp"

namespace shoal::test {
namespace {

using protocol::service_kind;

/// The keys of a mesh: an access list, and whoever was given a key.
class mesh_of_keys {
 public:
  mesh_of_keys() { save(); }

  access::key_file make(const std::string& name, access::role role) {
    const auto pair = *link::new_curve_pair();
    list_.keys.push_back({name, role, pair.public_key});
    save();
    return {name, role, pair.public_key, pair.secret_key, {}};
  }
  void revoke(const std::string& name) {
    std::erase_if(list_.keys, [&](const auto& each) { return each.name == name; });
    save();
  }

  /// Of somebody who knows the list.
  [[nodiscard]] std::shared_ptr<const access::identity> identity(access::key_file own) const {
    return std::make_shared<access::identity>(
        access::identity{std::move(own), *access::access_book::open(file().string())});
  }

 private:
  [[nodiscard]] std::filesystem::path file() const { return folder_.path() / "allowed.toml"; }
  void save() const {
    const auto fresh = file().string() + ".new";
    std::ofstream(fresh) << list_.to_toml();
    std::filesystem::rename(fresh, file());
  }
  temporary_folder folder_;
  access::access_list list_;
};

link::options with(std::shared_ptr<const access::identity> who, service_kind service) {
  auto own = quick(service);
  own.identity = std::move(who);
  return own;
}

link::options listening(std::shared_ptr<const access::identity> who, const std::string& transport = "tcp") {
  auto own = with(std::move(who), service_kind::gateway);
  own.bind = {fresh_address(transport)};
  return own;
}

/// What a link complained of, from any thread.
struct complaints {
  void hear(link::options& of) {
    of.log = [this](link::log_level, const std::string& sentence) {
      const std::lock_guard lock(mutex);
      all += sentence + "\n";
    };
  }
  bool wait_for(const std::string& part) {
    for (const auto until = steady::now() + 10s; steady::now() < until; std::this_thread::sleep_for(10ms)) {
      const std::lock_guard lock(mutex);
      if (all.find(part) != std::string::npos) return true;
    }
    const std::lock_guard lock(mutex);
    MESSAGE("heard: ", all);
    return false;
  }
  std::mutex mutex;
  std::string all;
};

TEST_CASE("halves of a key belong together") {
  const auto pair = *link::new_curve_pair();
  CHECK(*link::public_half_of(pair.secret_key) == pair.public_key);
  CHECK(!link::public_half_of("no key"));
}

TEST_CASE("with keys of the right roles two links meet, and messages of any size pass") {
  mesh_of_keys mesh;
  recorder gateway(listening(mesh.identity(mesh.make("gateway", access::role::gateway))),
                   [](recorder& self, const protocol::link_event& event) {
                     if (const auto* got = std::get_if<protocol::delivery>(&event))
                       if (const auto* asked = std::get_if<protocol::infer>(&got->body)) {
                         protocol::outcome answer;
                         answer.id = asked->id;
                         answer.result = asked->inputs;
                         static_cast<void>(self.link.send(got->from, std::move(answer)));
                       }
                   });
  auto client_key = mesh.make("me", access::role::client);
  client_key.gateways = mesh.identity(client_key)->keys_of(access::role::gateway);
  recorder client(
      with(std::make_shared<access::identity>(access::identity{client_key, nullptr}), service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
  REQUIRE(client.wait_for_up());
  REQUIRE(gateway.wait_for_up());
  CHECK(!gateway.ups().front().administers);
  REQUIRE(client.link.send(client.last_peer(), request(1)));
  REQUIRE(client.link.send(client.last_peer(), request(2, 3'000'000)));  // in pieces
  CHECK(client.wait_for_messages(2));
}

TEST_CASE("an admin administers") {
  mesh_of_keys mesh;
  recorder gateway(listening(mesh.identity(mesh.make("gateway", access::role::gateway))));
  recorder admin(with(mesh.identity(mesh.make("root", access::role::admin)), service_kind::client));
  REQUIRE(admin.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
  REQUIRE(gateway.wait_for_up());
  CHECK(gateway.ups().front().administers);
}

TEST_CASE("a key cannot act as another kind of service") {
  mesh_of_keys mesh;
  recorder gateway(listening(mesh.identity(mesh.make("gateway", access::role::gateway))));
  const auto worker_key = mesh.make("worker", access::role::worker);
  for (const auto claimed : {service_kind::client, service_kind::scheduler, service_kind::gateway, service_kind::cache,
                             service_kind::precision}) {
    auto own = with(mesh.identity(worker_key), claimed);
    complaints heard;
    heard.hear(own);
    recorder impostor(std::move(own));
    REQUIRE(impostor.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
    CHECK(
        heard.wait_for("the key 'worker' is of the role worker and cannot act as a " + std::string(name_of(claimed))));
    CHECK(impostor.ups().empty());
  }
  CHECK(gateway.ups().empty());
  recorder worker(with(mesh.identity(worker_key), service_kind::worker));
  REQUIRE(worker.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
  CHECK(gateway.wait_for_up());
}

TEST_CASE("whoever listens must have a key of the kind that is expected") {
  mesh_of_keys mesh;
  // It listens as a gateway, with a worker's key.
  recorder impostor(listening(mesh.identity(mesh.make("worker", access::role::worker))));
  mesh.make("gateway", access::role::gateway);
  auto own = with(mesh.identity(mesh.make("me", access::role::client)), service_kind::client);
  complaints heard;
  heard.hear(own);
  recorder client(std::move(own));
  REQUIRE(client.link.connect(service_kind::gateway, impostor.link.endpoints().front()));
  CHECK(heard.wait_for("has no key that is believed to be a gateway's"));
  CHECK(client.ups().empty());
  CHECK(impostor.ups().empty());
}

TEST_CASE("unknown keys, and none, are not let in, and it is said why") {
  mesh_of_keys mesh;
  auto serving = listening(mesh.identity(mesh.make("gateway", access::role::gateway)));
  complaints at_the_gateway;
  at_the_gateway.hear(serving);
  recorder gateway(std::move(serving));
  const auto at = gateway.link.endpoints().front();

  const auto pair = *link::new_curve_pair();
  auto own = with(mesh.identity({"stranger", access::role::client, pair.public_key, pair.secret_key, {}}),
                  service_kind::client);
  complaints of_the_stranger;
  of_the_stranger.hear(own);
  recorder stranger(std::move(own));
  REQUIRE(stranger.link.connect(service_kind::gateway, at));
  CHECK(at_the_gateway.wait_for(pair.public_key + " is not in the access list"));
  CHECK(of_the_stranger.wait_for("does not let in the key 'stranger'"));
  CHECK(gateway.figure("link_keys_refused") >= 1);

  auto clear = quick(service_kind::client);
  complaints in_the_clear;
  in_the_clear.hear(clear);
  recorder plain(std::move(clear));
  REQUIRE(plain.link.connect(service_kind::gateway, at));
  CHECK(in_the_clear.wait_for("does not speak in the clear"));

  // The other way round: who has a key talks to nobody without.
  auto open = quick(service_kind::gateway);
  open.bind = {fresh_address("tcp")};
  recorder plain_gateway(std::move(open));
  auto keyed = with(mesh.identity(mesh.make("me", access::role::client)), service_kind::client);
  complaints of_the_keyed;
  of_the_keyed.hear(keyed);
  recorder careful(std::move(keyed));
  REQUIRE(careful.link.connect(service_kind::gateway, plain_gateway.link.endpoints().front()));
  CHECK(of_the_keyed.wait_for("or speaks in the clear"));
  CHECK(gateway.ups().empty());
  CHECK(plain_gateway.ups().empty());
}

TEST_CASE("of several keys that a gateway may have the right one is found") {
  mesh_of_keys mesh;
  for (const auto* other : {"old-1", "old-2", "old-3"}) mesh.make(other, access::role::gateway);
  recorder gateway(listening(mesh.identity(mesh.make("gateway", access::role::gateway))));
  recorder client(with(mesh.identity(mesh.make("me", access::role::client)), service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
  CHECK(client.wait_for_up());
}

TEST_CASE("a key that is revoked is cut off within seconds, on either side, and let in again when it is allowed") {
  mesh_of_keys mesh;
  const auto gateway_key = mesh.make("gateway", access::role::gateway);
  const auto client_key = mesh.make("me", access::role::client);
  recorder gateway(listening(mesh.identity(gateway_key)));
  recorder client(with(mesh.identity(client_key), service_kind::client));
  REQUIRE(client.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
  REQUIRE(gateway.wait_for_up());
  mesh.revoke("me");
  REQUIRE(gateway.wait_for_down());
  CHECK(gateway.downs().front().reason.code == errc::permission_denied);
  REQUIRE(client.wait_for_down());

  recorder other(with(mesh.identity(mesh.make("other", access::role::client)), service_kind::client));
  REQUIRE(other.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
  REQUIRE(other.wait_for_up());
  mesh.revoke("gateway");  // whom the other believed
  CHECK(other.wait_for_down());
}

TEST_CASE("ipc and inproc of a link with an identity stay in the clear: files and the process say who may") {
  mesh_of_keys mesh;
  for (const std::string transport : {"ipc", "inproc"}) {
    CAPTURE(transport);
    auto serving = listening(mesh.identity(mesh.make("gateway-" + transport, access::role::gateway)), transport);
    serving.bind.push_back(fresh_address("tcp"));
    recorder gateway(std::move(serving));
    recorder near(quick(service_kind::worker));
    REQUIRE(near.link.connect(service_kind::gateway, gateway.link.endpoints().front()));
    REQUIRE(near.wait_for_up());
    recorder far(with(mesh.identity(mesh.make("me-" + transport, access::role::client)), service_kind::client));
    REQUIRE(far.link.connect(service_kind::gateway, gateway.link.endpoints().back()));
    CHECK(gateway.wait_for_up(2));
    CHECK(gateway.downs().empty());
  }
}

}  // namespace
}  // namespace shoal::test
