# Frame 1 of every message between processes: one Envelope, standard Cap'n Proto framing, unpacked. Frames 2..n are the
# raw bytes of tensors, row-major and little-endian. README.md says who sends what to whom and how frames are laid out.
# Evolution: fields and union members are only ever appended; a change of meaning raises protocolVersion.

@0xd3a1f0c46be52897;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::wire");

const protocolVersion :UInt32 = 1;
const newestVersion :UInt32 = 5;
# The oldest and the newest version that this release speaks, as its HELLO says. Two processes talk in the newest version that both speak; if there is none, the answer to
# HELLO is `refused`.

const pieceSize :UInt64 = 4194304;
# A message whose tensors hold more bytes than this travels in pieces.

const tailSize :UInt64 = 8192;
# At most so many bytes of tensors follow the envelope in frame 1 itself, in place of frames of their own.

struct Envelope {
  epoch @0 :UInt64;
  # The sender's boot epoch, as its HELLO said. Any other value: stale, dropped and counted.

  union {
    hello @1 :Hello;
    welcome @2 :Hello;
    refused @3 :Error;
    heartbeat @4 :Heartbeat;
    goodbye @5 :Void;
    piece @6 :Piece;
    infer @7 :Infer;
    cancel @8 :RequestKey;
    outcome @9 :Outcome;
    batch @10 :Batch;
    offer @11 :Offer;
    completion @12 :Completion;
    fetch @13 :Fetch;
    payload @14 :Payload;
    catalogue @15 :Catalogue;
    describe @16 :Void;
    inquire @17 :Void;
    report @18 :Report;
    more @19 :UInt64;
    acquire @20 :Acquire;
    leased @21 :Leased;
    store @22 :Store;
    stored @23 :Stored;
    release @24 :Release;
    manage @25 :Manage;
    managed @26 :Managed;
    recall @27 :Recall;
    want @28 :Priority;
    withdraw @29 :UInt64;
    started @30 :UInt64;
    follows @31 :Follows;
    planNews @32 :PlanNews;
    sampling @33 :Sampling;
    sample @34 :Sample;
    breach @35 :Breach;
  }
  # piece: one part of a bulk transfer. more(transfer): its receiver has taken one piece, another may be sent.
  # want(class of the most urgent request that waits), withdraw(offer), started(batch): actors/protocol/messages.hpp.
}

enum ServiceKind {
  client @0;
  gateway @1;
  scheduler @2;
  worker @3;
  cache @4;
  precision @5;
}

struct Hello {
  protocolVersion @0 :UInt32;
  # The oldest version the sender speaks (releases of version 1 speak this one only).
  service @1 :ServiceKind;
  instance @2 :UInt64;
  epoch @3 :UInt64;
  capabilities @4 :List(Text);
  creditMessages @5 :UInt32;
  # Requests (`infer`) the sender of this HELLO accepts to have in flight on this link.
  creditBytes @6 :UInt64;
  # Bytes of their tensors, room for their replies included.
  maxMessageBytes @7 :UInt64;
  # The largest sum of tensor bytes of one message it accepts.
  newestVersion @8 :UInt32;
  # The newest version the sender speaks; 0: protocolVersion, since version 1 did not have this field.
}

struct Heartbeat {
  sequence @0 :UInt64;
}

struct Error {
  code @0 :UInt16;
  # errc in actors/core/error.hpp.
  message @1 :Text;
  retryable @2 :Bool;
  retryAfterMs @3 :UInt32;
}

struct RequestKey {
  gateway @0 :UInt64;
  id @1 :UInt64;
}

struct Tensor {
  name @0 :Text;
  dtype @1 :UInt8;
  # dtype in actors/core/dtype.hpp.
  dims @2 :List(Int64);
  hasData @3 :Bool;
  # True: the next frame not yet taken (or its pieces) holds the bytes. False: a descriptor only.
}

struct Bulk {
  transfer @0 :UInt64;
  # Zero: the tensors' frames follow in this very message. Else: they come in pieces of this transfer, whose number is
  # unique for the sender on this link.
}

struct Piece {
  transfer @0 :UInt64;
  tensor @1 :UInt16;
  # Which of the message's tensors that have data, counted from 0.
  offset @2 :UInt64;
  # Pieces of a transfer come in order and without gaps; each fills pieceSize bytes or the rest of its tensor.
}

struct Trace {
  traceHigh @0 :UInt64;
  traceLow @1 :UInt64;
  span @2 :UInt64;
}

struct Infer {
  id @0 :UInt64;
  attempt @1 :UInt32;
  timeLeftUs @2 :Int64;
  model @3 :Text;
  version @4 :UInt64;
  inputs @5 :List(Tensor);
  payloadHeld @6 :Bool;
  outputs @7 :List(Text);
  deaths @8 :UInt32;
  trace @9 :Trace;
  bulk @10 :Bulk;
  priority @11 :Priority;
  isProbe @12 :Bool;
  # Of no client: whether the mesh answers.
}

enum Priority {
  standard @0;
  critical @1;
  batch @2;
}

struct Outcome {
  id @0 :UInt64;
  attempt @1 :UInt32;
  result :union {
    outputs @2 :List(Tensor);
    error @3 :Error;
  }
  model @4 :Text;
  version @5 :UInt64;
  queueUs @6 :UInt64;
  computeUs @7 :UInt64;
  batchRows @8 :UInt32;
  bulk @9 :Bulk;
  inputUs @10 :UInt64;
  outputUs @11 :UInt64;
  # Parts of computeUs: joining the inputs of the batch, parting its outputs.
  plan @12 :Text;
  # The epoch of the plan that all of the batch was computed by; empty: not told.
}

struct BatchMember {
  gateway @0 :UInt64;
  request @1 :Infer;
  queueUs @2 :UInt64;
}

struct Batch {
  id @0 :UInt64;
  offer @1 :UInt64;
  members @2 :List(BatchMember);
  bulk @3 :Bulk;
  takesUs @4 :UInt64;
  # Of the worker's time, as predicted; 0: not known.
  more :union {
    none @5 :Void;
    mostUrgent @6 :Priority;
    # More such requests wait, as if `want` followed.
  }
}

struct Offer {
  id @0 :UInt64;
  busyUs @1 :UInt64;
  # What batches of other schedulers will still take there.
}

struct Completion {
  batch @0 :UInt64;
  finished @1 :List(RequestKey);
  returned @2 :List(RequestKey);
  computeUs @3 :UInt64;
  rows @4 :UInt32;
  batchOver @5 :Bool;
  offer @6 :UInt64;
  # Not zero: the worker offers the place that became free, as if `offer` followed.
  failed @7 :UInt32;
  # Of `finished`: those that failed for a reason that lies with the worker (errc internal).
  busyUs @8 :UInt64;
  # As in Offer.
  apart @9 :Bool;
  # The batch failed as a whole, and its members ran one by one.
}

struct Recall {
  batch @0 :UInt64;
}

struct Fetch {
  id @0 :UInt64;
  attempt @1 :UInt32;
}

struct Payload {
  id @0 :UInt64;
  attempt @1 :UInt32;
  inputs :union {
    tensors @2 :List(Tensor);
    error @3 :Error;
  }
  bulk @4 :Bulk;
}

struct Dimension {
  min @0 :Int64;
  max @1 :Int64;
  symbol @2 :Text;
}

struct TensorSpec {
  name @0 :Text;
  dtype @1 :UInt8;
  dims @2 :List(Dimension);
  padValue @3 :Float64;
}

struct ModelSpec {
  name @0 :Text;
  version @1 :UInt64;
  state @2 :UInt8;
  # 0 loading, 1 ready, 2 failed
  reason @3 :Text;
  inputs @4 :List(TensorSpec);
  outputs @5 :List(TensorSpec);
  batchSymbol @6 :Text;
  padSymbol @7 :Text;
  maxBatch @8 :UInt32;
}

struct Catalogue {
  models @0 :List(ModelSpec);
}

struct Figure {
  name @0 :Text;
  value @1 :Float64;
}

struct DurationSum {
  count @0 :UInt64;
  totalNs @1 :UInt64;
}

struct ModelStatistics {
  model @0 :Text;
  version @1 :UInt64;
  lastInferenceMs @2 :UInt64;
  # Since 1970; 0: none yet.
  rows @3 :UInt64;
  executions @4 :Float64;
  success @5 :DurationSum;
  fail @6 :DurationSum;
  queue @7 :DurationSum;
  computeInput @8 :DurationSum;
  computeInfer @9 :DurationSum;
  computeOutput @10 :DurationSum;
}

struct ServiceReport {
  service @0 :Text;
  instance @1 :UInt64;
  figures @2 :List(Figure);
  models @3 :List(ModelStatistics);
  plans @4 :List(PlanReport);
}

struct Report {
  services @0 :List(ServiceReport);
}

struct ObjectKey {
  # 32 bytes of SHA-256, each word as if it were read from them little-endian.
  word0 @0 :UInt64;
  word1 @1 :UInt64;
  word2 @2 :UInt64;
  word3 @3 :UInt64;
}

struct Acquire {
  id @0 :UInt64;
  keys @1 :List(ObjectKey);
  verify @2 :Bool;
}

struct LeasedObject {
  key @0 :ObjectKey;
  state @1 :UInt8;
  # 0 ready, 1 absent, 2 failed
  size @2 :UInt64;
}

struct Leased {
  id @0 :UInt64;
  objects @1 :List(LeasedObject);
}

struct Store {
  id @0 :UInt64;
  key @1 :ObjectKey;
  source @2 :ObjectKey;
  layout @3 :Text;
  # Empty: the key is the SHA-256 of the bytes. Else it is that of "shoal.derived\n", the source's 32 bytes, and this.
  bytes @4 :Tensor;
  bulk @5 :Bulk;
}

struct Stored {
  id @0 :UInt64;
  failed @1 :Bool;
  error @2 :Error;
}

struct Release {
  keys @0 :List(ObjectKey);
}

enum LifeVerb {
  load @0;
  unload @1;
}

struct Manage {
  key @0 :RequestKey;
  verb @1 :LifeVerb;
  model @2 :Text;
  version @3 :UInt64;
  # Zero: load the newest in the directory, unload all.
  replace @4 :Bool;
  timeLeftUs @5 :Int64;
}

struct WorkerAnswer {
  worker @0 :UInt64;
  result :union {
    done @1 :Text;
    error @2 :Error;
  }
}

struct Managed {
  key @0 :RequestKey;
  result :union {
    workers @1 :List(WorkerAnswer);
    error @2 :Error;
  }
}

struct PlanTarget {
  model @0 :Text;
  version @1 :UInt64;
  archive @2 :ObjectKey;
  device @3 :Text;
}

struct PlanReport {
  target @0 :PlanTarget;
  epoch @1 :Text;
  policy @2 :Text;
  calibratedOn @3 :Text;
  generation @4 :UInt64;
  speedup @5 :Float64;
  error @6 :Float64;
  budget @7 :Float64;
  nodes @8 :Text;
  state @9 :Text;
  said @10 :Text;
  isPlannedHere @11 :Bool;
  workers @12 :UInt32;
  following @13 :UInt32;
  samples @14 :UInt32;
  breaches @15 :UInt32;
}

struct Follows {
  target @0 :PlanTarget;
  plan @1 :Tensor;
  # The plan's text (actors/executor/precision_plan.hpp), uint8 of one dimension; no bytes: no plan, fp32.
  plansHere @2 :Bool;
  refused @3 :Text;
  isServed @4 :Bool;
  bulk @5 :Bulk;
}

struct PlanNews {
  target @0 :PlanTarget;
  plan @1 :Tensor;
  bulk @2 :Bulk;
}

struct Sampling {
  target @0 :PlanTarget;
  executions @1 :UInt32;
}

struct Sample {
  target @0 :PlanTarget;
  inputs @1 :List(Tensor);
  bulk @2 :Bulk;
}

struct Breach {
  target @0 :PlanTarget;
  epoch @1 :Text;
  error @2 :Float64;
  budget @3 :Float64;
  samples @4 :UInt32;
  node @5 :Text;
  inputs @6 :List(Tensor);
  bulk @7 :Bulk;
}
