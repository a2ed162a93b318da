// SPDX-License-Identifier: MIT
// What an object declares, and what may be changed about it before it is loaded.
#include <cstring>

#include "map.h"
#include "object.h"

Napi::Value Object::Maps(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    Napi::Array result = Napi::Array::New(env);
    const bpf_map *map = nullptr;
    bpf_object__for_each_map(map, State(env, "object maps").object)
    {
        Napi::Object spec = Napi::Object::New(env);
        spec["name"] = DeclaredName(map);
        spec["type"] = static_cast<uint32_t>(bpf_map__type(map));
        spec["keySize"] = bpf_map__key_size(map);
        spec["valueSize"] = bpf_map__value_size(map);
        spec["maxEntries"] = bpf_map__max_entries(map);
        spec["flags"] = bpf_map__map_flags(map);
        result[result.Length()] = spec;
    }
    return result;
}

Napi::Value Object::Programs(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    Napi::Array result = Napi::Array::New(env);
    bpf_program *program = nullptr;
    bpf_object__for_each_program(program, State(env, "object programs").object)
    {
        Napi::Object spec = Napi::Object::New(env);
        spec["name"] = bpf_program__name(program);
        spec["section"] = bpf_program__section_name(program);
        spec["type"] = static_cast<uint32_t>(bpf_program__type(program));
        result[result.Length()] = spec;
    }
    return result;
}

Napi::Value Object::GetData(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    bpf_map *map = FindMap(Arguments(info, "object data"), env, "object data");
    size_t size = 0;
    const void *value = bpf_map__initial_value(map, &size);
    if (!value)
        Fail(env, EINVAL, "object data", DeclaredName(map), "it is not a data section");
    return Napi::Buffer<uint8_t>::Copy(env, static_cast<const uint8_t *>(value), size);
}

void Object::SetData(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "object data");
    Unloaded(env, "object data");
    bpf_map *map = FindMap(arguments, env, "object data");
    size_t size = 0;
    if (!bpf_map__initial_value(map, &size))
        Fail(env, EINVAL, "object data", DeclaredName(map), "it is not a data section");
    const Bytes value = arguments.ExactBytes(1, "value", size);
    if (bpf_map__set_initial_value(map, value.data, size))
        Fail(env, errno, "object data", DeclaredName(map));
}

void Object::SetMaxEntries(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "object map entries");
    Unloaded(env, "object map entries");
    bpf_map *map = FindMap(arguments, env, "object map entries");
    if (bpf_map__set_max_entries(map, arguments.U32(1, "entries", 1)))
        Fail(env, errno, "object map entries", DeclaredName(map));
}

void Object::SetAutoload(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "object autoload");
    Unloaded(env, "object autoload");
    bpf_program *program = FindProgram(arguments, env, "object autoload");
    if (bpf_program__set_autoload(program, arguments.Flag(1, "on")))
        Fail(env, errno, "object autoload", bpf_program__name(program));
}

/** libbpf takes whatever it is given and shapes the declaration after it; programs would then overrun the values. */
void Object::ReuseMap(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "object reuse map");
    Unloaded(env, "object reuse map");
    bpf_map *map = FindMap(arguments, env, "object reuse map");
    Map &existing = Map::From(info, 1, "object reuse map");
    const int fd = existing.Fd(env, "object reuse map");
    const MapShape &shape = existing.shape();
    if (shape.type != bpf_map__type(map) || shape.keySize != bpf_map__key_size(map) ||
        shape.declaredValueSize != bpf_map__value_size(map))
        Fail(env, EINVAL, "object reuse map", DeclaredName(map), "type, key size or value size differ");
    if (bpf_map__reuse_fd(map, fd))
        Fail(env, errno, "object reuse map", DeclaredName(map));
}

void Object::Init(Napi::Env env, Napi::Object exports)
{
    exports["Object"] = DefineClass(
        env, "NativeObject",
        {InstanceMethod<&Object::Maps>("maps"), InstanceMethod<&Object::Programs>("programs"),
         InstanceMethod<&Object::GetData>("getData"), InstanceMethod<&Object::SetData>("setData"),
         InstanceMethod<&Object::SetMaxEntries>("setMaxEntries"), InstanceMethod<&Object::SetAutoload>("setAutoload"),
         InstanceMethod<&Object::KeepStatistics>("keepStatistics"), InstanceMethod<&Object::Statistics>("statistics"),
         InstanceMethod<&Object::ReuseMap>("reuseMap"), InstanceMethod<&Object::Load>("load"),
         InstanceMethod<&Object::TakeMap>("map"), InstanceMethod<&Object::TakeProgram>("program"),
         InstanceMethod<&Object::Close>("close")});
}
