#include "unit/simulation/worker_process.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <spdlog/fmt/fmt.h>

#include "unit/simulation/model.hpp"

namespace shoal::test {

using namespace protocol;

worker_process::worker_process(surroundings with, model_directory& models, double slower, const host_memory& memory,
                               const std::map<std::uint64_t, cache_disk*>& disks)
    : process(std::move(with)),
      models_(models),
      slower_(slower),
      caches_(
          with_.checks, way(),
          [this](steady::duration wait, std::function<void()> what) { later(wait, std::move(what)); }, memory, disks),
      mind_(
          [this] {
            worker::worker_options options;
            options.instance = with_.instance;
            options.ready = ready_;
            return options;
          }(),
          way(), threads(), figures_) {
  std::vector<protocol::load> all;
  for (const auto& [model, versions] : models_.versions) all.push_back({{}, model, *versions.rbegin()});
  mind_.load(std::move(all));
}

worker::worker_state::compute_port worker_process::threads() {
  worker::worker_state::compute_port port;
  port.find = [this](const lookup& what) { find(what); };
  port.load = [this](const protocol::load& what) { load(what); };
  port.run = [this](protocol::compute job) { start(std::move(job)); };
  port.unload = [this](const unload& which) {
    give(compute_, milliseconds(1), [this, which] {
      loaded_.erase({which.name, which.version});
      caches_.unload(which.name, which.version);
      unloaded done{which.name, which.version};
      mind_.on(done, now());
    });
  };
  port.replan = [this](const protocol::replan& what) { replan(what); };
  return port;
}

void worker_process::give(thread& to, steady::duration takes, std::function<void()> then) {
  to.tasks.push_back({takes, std::move(then)});
  work(to);
}

void worker_process::work(thread& on) {
  if (on.works || on.tasks.empty()) return;
  on.works = true;
  later(on.tasks.front().takes, [this, &on] {
    const auto done = std::move(on.tasks.front());
    on.tasks.pop_front();
    on.works = false;
    work(on);
    done.then();
  });
}

// --- the loader -----------------------------------------------------------------------------------------------------

void worker_process::find(const lookup& what) {
  give(loader_, milliseconds(1), [this, what] {
    found answer{what.key, models_.find(what.model, what.version)};
    mind_.on(answer, now());
  });
}

void worker_process::load(const protocol::load& what) {
  give(loader_, with_.time.between(milliseconds(2), milliseconds(50)), [this, what] {
    caches_.load(what.name, what.version, [this, what] {
      give(compute_, milliseconds(1), [this, what] {
        loaded done;
        done.spec = model_of(what.name, what.version);
        if (with_.of.planners > 0) {
          done.target = model_directory::target(what.name, what.version);
          done.plan = models_.plans[done.target];
        }
        loaded_[{what.name, what.version}] = done.plan;
        mind_.on(done, now());
      });
    });
  });
}

void worker_process::replan(const protocol::replan& what) {
  give(loader_, with_.time.between(milliseconds(2), milliseconds(50)), [this, what] {
    give(compute_, milliseconds(1), [this, what] {
      const auto found = loaded_.find({what.what.name, what.what.version});
      replanned done{what.what.name, what.what.version, what.plan, ""};
      if (found == loaded_.end())
        done.refused = "the model was unloaded meanwhile";
      else
        found->second = what.plan;
      mind_.on(done);
    });
  });
}

// --- the compute thread ---------------------------------------------------------------------------------------------

void worker_process::start(protocol::compute job) {
  if (std::exchange(computing_, true)) with_.checks.fail("a worker was given a batch while another ran");
  ++batches_;
  std::int64_t rows = 0, longest = 0;
  for (const auto& member : job.members) {
    rows += member.inputs[0].dims[0];
    longest = std::max(longest, member.inputs[0].dims[1]);
  }
  const auto us =
      (static_cast<double>(with_.of.fixed_cost.count()) + with_.of.per_token_us * static_cast<double>(rows * longest)) *
      with_.time.between(0.9, 1.1) * (with_.all_is_well ? 1 : slower_);
  const microseconds takes(std::llround(us));
  give(compute_, takes, [this, takes, rows, job = std::move(job)] {
    computing_ = false;
    auto done = compute(job);
    if (done.results.size() < job.members.size()) return with_.die();
    done.compute_time = takes;
    done.rows = static_cast<std::uint32_t>(rows);
    mind_.on(done, now());
    breach(job);
  });
}

/// Sometimes answers by a plan are too far from those in fp32, and the model goes back to that.
void worker_process::breach(const protocol::compute& job) {
  const auto held = loaded_.find({job.model, job.version});
  if (held == loaded_.end() || !held->second || held->second->is_fp32()) return;
  if (with_.all_is_well || !with_.time.chance(with_.of.breaches)) return;
  given_up told{job.model, job.version, held->second->epoch(), 0.1, 0.03, 10, "linear", job.members.front().inputs};
  held->second = nullptr;
  mind_.on(told);
}

/// Fewer results than members: it ended the worker.
computed worker_process::compute(const protocol::compute& job) {
  computed done;
  done.batch = job.batch;
  const auto held = loaded_.find({job.model, job.version});
  const bool is_there = held != loaded_.end();
  done.plan = is_there && held->second ? held->second->epoch() : "fp32";
  if (job.is_sample) done.sample = job.members.front().inputs;
  const bool fails = !with_.all_is_well && with_.time.chance(with_.of.failures);
  for (const auto& member : job.members) {
    std::uint64_t number = 0;
    std::memcpy(&number, member.inputs[0].data.data(), sizeof number);
    number >>= 16;
    with_.checks.run(number);
    if (number != 0 && with_.checks.request(number).is_poison) return {};
    if (!is_there)
      done.results.emplace_back(fail(errc::not_found, "this worker does not hold the model"));
    else if (fails)
      done.results.emplace_back(fail(errc::internal, "an operator threw"));
    else
      done.results.emplace_back(std::vector<tensor>{answer_of(job.model, job.version, member.inputs[0])});
  }
  const auto harm = with_.of.harm;
  if (harm == sabotage::neighbours_row && done.results.size() > 1) std::swap(done.results[0], done.results[1]);
  if (harm == sabotage::other_version && with_.time.chance(0.1))
    for (std::size_t m = 0; m < job.members.size(); ++m)
      done.results[m] = std::vector<tensor>{answer_of(job.model, job.version + 1, job.members[m].inputs[0])};
  return done;
}

void worker_process::examine() {
  constexpr std::size_t places = 2;
  if (mind_.batches() > places) with_.checks.fail(fmt::format("a worker holds {} batches", mind_.batches()));
}

std::map<std::pair<std::string, std::uint64_t>, std::string> worker_process::epochs() const {
  std::map<model_key, std::string> all;
  for (const auto& [model, plan] : loaded_) all[model] = plan ? plan->epoch() : "none";
  return all;
}

double worker_process::withdrawn() {
  for (const auto& [known, value] : figures_.snapshot())
    if (known == "shoal_worker_withdrawn_total") return value;
  return 0;
}

}  // namespace shoal::test
