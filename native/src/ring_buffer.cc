// SPDX-License-Identifier: MIT
#include "ring_buffer.h"

#include <linux/bpf.h>

#include <vector>

#include "map.h"

namespace
{

void Deliver(Napi::Env env, Napi::Function callback, RingBuffer::State *state, void *data);

using Notifier = Napi::TypedThreadSafeFunction<RingBuffer::State, void, Deliver>;

} // namespace

struct RingBuffer::State {
    RingReader reader;
    Notifier notifier;
    bool released = true; // JavaScript thread only

    void Stop()
    {
        reader.Stop();
        if (!released)
            notifier.Release();
        released = true;
    }
};

namespace
{

/** Runs on the JavaScript thread; without an environment when that is being torn down. */
void Deliver(Napi::Env env, Napi::Function callback, RingBuffer::State *state, void *)
{
    if (!static_cast<napi_env>(env) || state->released)
        return;
    RingReader::Records records;
    const int failed = state->reader.Drain(records);
    std::vector<Napi::Error> errors;
    for (const auto &record : records) {
        Napi::HandleScope scope(env);
        try {
            callback.Call({Napi::Buffer<uint8_t>::Copy(env, record.data(), record.size())});
        } catch (const Napi::Error &error) {
            errors.push_back(error); // not the other records' fault
        }
        if (state->released)
            break; // the callback closed it
    }
    if (failed)
        errors.push_back(ToError(env, Failure{failed, "ring buffer read", "", "", {}}));
    // Not thrown: before Node-API 10, Node swallows what a thread-safe function throws.
    for (const Napi::Error &error : errors)
        napi_fatal_exception(env, error.Value());
}

} // namespace

/** (map, callback) */
RingBuffer::RingBuffer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<RingBuffer>(info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "ring buffer open");
    const Map &map = Map::From(info, 0, "ring buffer open");
    const int fd = map.Fd(env, "ring buffer open");
    Napi::Function callback = arguments.Callback(1, "onRecord");
    if (map.shape().type != BPF_MAP_TYPE_RINGBUF)
        Fail(env, EINVAL, "ring buffer open", map.subject());

    auto state = std::make_shared<State>();
    // The finalizer's copy keeps the state until the function is really gone, which is later than Release().
    auto *kept = new std::shared_ptr<State>(state);
    state->notifier =
        Notifier::New(env, callback, "libbpf.ringBuffer", 0, 1, state.get(), [kept](Napi::Env, void *, State *) {
            // When the environment dies this comes first, and the thread must be gone before the function is.
            (*kept)->released = true;
            (*kept)->reader.Stop();
            delete kept;
        });
    state->released = false;
    state->notifier.Unref(env);
    if (const int error = state->reader.Start(fd, [raw = state.get()] { raw->notifier.NonBlockingCall(); })) {
        state->Stop();
        Fail(env, error, "ring buffer open", map.subject());
    }
    state_ = std::move(state);
    Ref(); // until close(): nobody else need hold it for records to come
}

RingBuffer::~RingBuffer()
{
    if (state_)
        state_->Stop();
}

void RingBuffer::Close(const Napi::CallbackInfo &)
{
    if (!state_)
        return;
    state_->Stop();
    state_.reset();
    Unref();
}

void RingBuffer::Init(Napi::Env env, Napi::Object exports)
{
    exports["RingBuffer"] = DefineClass(env, "NativeRingBuffer", {InstanceMethod<&RingBuffer::Close>("close")});
}
