// SPDX-License-Identifier: MIT
#include "object.h"

#include <cerrno>
#include <vector>

#include "log.h"
#include "map.h"
#include "program.h"
#include "signal_block.h"
#include "task.h"

std::string DeclaredName(const bpf_map *map)
{
    // "<object>.rodata": C names have no dot, and dots in the object's name are replaced when it is opened.
    const std::string name = bpf_map__name(map);
    const size_t dot = name.find('.');
    return dot == std::string::npos ? name : name.substr(dot);
}

/** (elf, name) */
Object::Object(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Object>(info)
{
    const Arguments arguments(info, "object open");
    const Bytes elf = arguments.AnyBytes(0, "elf");
    auto state = std::make_shared<ObjectState>();
    state->name = arguments.Text(1, "name");
    for (char &letter : state->name)
        if (letter == '.')
            letter = '_';
    // Copied: libelf wants alignment that a slice of a Buffer need not have.
    const std::vector<uint8_t> copy(elf.data, elf.data + elf.size);
    bpf_object_open_opts options{};
    options.sz = sizeof(options);
    options.object_name = state->name.c_str();
    LogCapture log;
    state->object = copy.empty() ? (errno = EINVAL, nullptr) : bpf_object__open_mem(copy.data(), copy.size(), &options);
    if (!state->object)
        Fail(info.Env(), errno, "object open", state->name, log.text());
    state_ = std::move(state);
}

ObjectState &Object::State(Napi::Env env, const char *operation) const
{
    if (!state_)
        FailClosed(env, operation, "");
    if (state_->stage == ObjectState::kLoading)
        Fail(env, EBUSY, operation, state_->name);
    return *state_;
}

ObjectState &Object::Unloaded(Napi::Env env, const char *operation) const
{
    ObjectState &state = State(env, operation);
    if (state.stage != ObjectState::kOpened)
        Fail(env, EINVAL, operation, state.name, "a load was tried already");
    return state;
}

ObjectState &Object::Loaded(Napi::Env env, const char *operation) const
{
    ObjectState &state = State(env, operation);
    if (state.stage != ObjectState::kLoaded)
        Fail(env, EINVAL, operation, state.name, "it is not loaded");
    return state;
}

bpf_map *Object::FindMap(const Arguments &arguments, Napi::Env env, const char *operation) const
{
    const std::string name = arguments.Text(0, "map");
    bpf_map *map = bpf_object__find_map_by_name(State(env, operation).object, name.c_str());
    if (!map)
        Fail(env, ENOENT, operation, name);
    return map;
}

bpf_program *Object::FindProgram(const Arguments &arguments, Napi::Env env, const char *operation) const
{
    const std::string name = arguments.Text(0, "program");
    bpf_program *program = bpf_object__find_program_by_name(State(env, operation).object, name.c_str());
    if (!program)
        Fail(env, ENOENT, operation, name);
    return program;
}

Napi::Value Object::Load(const Napi::CallbackInfo &info)
{
    Unloaded(info.Env(), "object load").stage = ObjectState::kLoading;
    return Task::Start(
        info.Env(), "libbpf.load",
        [state = state_] {
            LogCapture log;
            const SignalBlock block;
            const int error = bpf_object__load(state->object) ? errno : 0;
            state->refused = error != 0;
            return Failure{error, "object load", state->name, error ? log.text() : "", {}};
        },
        [state = state_](Napi::Env env) {
            state->stage = state->refused ? ObjectState::kFailed : ObjectState::kLoaded;
            return env.Undefined();
        });
}

/** (program) */
void Object::KeepStatistics(const Napi::CallbackInfo &info)
{
    const char *operation = "object verifier statistics";
    ObjectState &state = Unloaded(info.Env(), operation);
    bpf_program *program = FindProgram(Arguments(info, operation), info.Env(), operation);
    // Statistics only (BPF_LOG_STATS of the kernel, Linux 5.2): a few lines. The buffer, which libbpf does not own,
    // needs room for what is said on the way as well: the kernel fails with ENOSPC otherwise.
    constexpr uint32_t kStatistics = 4;
    std::vector<char> &buffer = state.statistics[bpf_program__name(program)];
    buffer.assign(4 << 20, 0);
    bpf_program__set_log_level(program, kStatistics);
    bpf_program__set_log_buf(program, buffer.data(), buffer.size());
}

/** (program) */
Napi::Value Object::Statistics(const Napi::CallbackInfo &info)
{
    const char *operation = "object verifier statistics";
    const ObjectState &state = State(info.Env(), operation);
    const std::string name = Arguments(info, operation).Text(0, "program");
    const auto found = state.statistics.find(name);
    if (found == state.statistics.end())
        Fail(info.Env(), ENOENT, operation, name);
    return Napi::String::New(info.Env(), found->second.data());
}

Napi::Value Object::TakeMap(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    Loaded(env, "object map");
    const bpf_map *map = FindMap(Arguments(info, "object map"), env, "object map");
    if (bpf_map__fd(map) < 0)
        Fail(env, ENOENT, "object map", bpf_map__name(map));
    Descriptor fd = Descriptor::Duplicate(bpf_map__fd(map));
    if (!fd.valid())
        Fail(env, errno, "object map", bpf_map__name(map));
    return Map::Create(env, std::move(fd), "object map");
}

Napi::Value Object::TakeProgram(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    Loaded(env, "object program");
    const bpf_program *program = FindProgram(Arguments(info, "object program"), env, "object program");
    const std::string name = bpf_program__name(program);
    if (bpf_program__fd(program) < 0)
        Fail(env, ENOENT, "object program", name);
    Descriptor fd = Descriptor::Duplicate(bpf_program__fd(program));
    if (!fd.valid())
        Fail(env, errno, "object program", name);
    return Program::Create(env, std::move(fd), "object program");
}

void Object::Close(const Napi::CallbackInfo &info)
{
    if (!state_)
        return;
    State(info.Env(), "object close");
    state_.reset();
}
