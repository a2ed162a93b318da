// SPDX-License-Identifier: MIT
#include "map.h"

#include <bpf/bpf.h>

#include "options.h"

const napi_type_tag Map::kTag = {0x6c69626270660001, 0x9d0f3a55b1c24e01};

Map::Map(const Napi::CallbackInfo &info) : Wrapped<Map>(info)
{
    if (const int error = MapShape::Read(fd_.get(), shape_))
        Fail(info.Env(), error, "map info", subject_);
}

Napi::Object Map::Create(Napi::Env env, Descriptor fd, const std::string &operation)
{
    MapShape shape;
    if (const int error = MapShape::Read(fd.get(), shape))
        Fail(env, error, operation);
    return Wrapped<Map>::Create(env, std::move(fd), shape.name.empty() ? "#" + std::to_string(shape.id) : shape.name);
}

Napi::Value Map::Info(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    Fd(env, "map info");
    Napi::Object result = Napi::Object::New(env);
    result["id"] = shape_.id;
    result["type"] = shape_.type;
    result["name"] = shape_.name;
    result["keySize"] = shape_.keySize;
    result["valueSize"] = shape_.declaredValueSize;
    result["userValueSize"] = static_cast<double>(shape_.valueSize);
    result["maxEntries"] = shape_.maxEntries;
    result["flags"] = shape_.flags;
    return result;
}

Napi::Value Map::Memory(const Napi::CallbackInfo &info)
{
    uint64_t bytes = 0;
    if (const int error = ReadMemory(Fd(info.Env(), "map memory"), bytes))
        Fail(info.Env(), error, "map memory", subject_);
    return Napi::BigInt::New(info.Env(), bytes);
}

Napi::Value Map::Lookup(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const int fd = Fd(env, "map lookup");
    const Bytes key = Arguments(info, "map lookup").ExactBytes(0, "key", shape_.keySize);
    auto value = Napi::Buffer<uint8_t>::New(env, shape_.valueSize);
    if (bpf_map_lookup_elem(fd, shape_.keyless() ? nullptr : key.data, value.Data()) == 0)
        return value;
    if (errno != ENOENT)
        Fail(env, errno, "map lookup", subject_);
    return env.Undefined();
}

void Map::Update(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "map update");
    const Arguments arguments(info, "map update");
    const Bytes key = arguments.ExactBytes(0, "key", shape_.keySize);
    const Bytes value = arguments.ExactBytes(1, "value", shape_.valueSize);
    const uint32_t flags = arguments.U32(2, "mode", BPF_ANY, BPF_EXIST);
    if (bpf_map_update_elem(fd, shape_.keyless() ? nullptr : key.data, value.data, flags))
        Fail(info.Env(), errno, "map update", subject_);
}

Napi::Value Map::Remove(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const int fd = Fd(env, "map delete");
    const Bytes key = Arguments(info, "map delete").ExactBytes(0, "key", shape_.keySize);
    const bool removed = bpf_map_delete_elem(fd, key.data) == 0;
    if (!removed && errno != ENOENT)
        Fail(env, errno, "map delete", subject_);
    return Napi::Boolean::New(env, removed);
}

void Map::Push(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "map push");
    const Arguments arguments(info, "map push");
    if (!shape_.keyless())
        Fail(info.Env(), kNotSupported, "map push", subject_);
    const Bytes value = arguments.ExactBytes(0, "value", shape_.valueSize);
    if (bpf_map_update_elem(fd, nullptr, value.data, BPF_ANY))
        Fail(info.Env(), errno, "map push", subject_);
}

Napi::Value Map::Pop(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const int fd = Fd(env, "map pop");
    if (!shape_.keyless())
        Fail(env, kNotSupported, "map pop", subject_);
    auto value = Napi::Buffer<uint8_t>::New(env, shape_.valueSize);
    if (bpf_map_lookup_and_delete_elem(fd, nullptr, value.Data()) == 0)
        return value;
    if (errno != ENOENT)
        Fail(env, errno, "map pop", subject_);
    return env.Undefined();
}

void Map::Pin(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "map pin");
    const std::string path = Arguments(info, "map pin").Text(0, "path");
    if (bpf_obj_pin(fd, path.c_str()))
        Fail(info.Env(), errno, "map pin", path);
}

namespace
{

Napi::Value OpenMap(const Napi::CallbackInfo &info)
{
    const std::string path = Arguments(info, "map open").Text(0, "path");
    return Map::Create(info.Env(), Adopt(info.Env(), bpf_obj_get(path.c_str()), "map", "map open", path), "map open");
}

Napi::Value MapById(const Napi::CallbackInfo &info)
{
    const uint32_t id = Arguments(info, "map open").U32(0, "id", 1);
    Descriptor fd = Adopt(info.Env(), bpf_map_get_fd_by_id(id), "map", "map open", "#" + std::to_string(id));
    return Map::Create(info.Env(), std::move(fd), "map open");
}

/** (type, name, key size, value size, entries, flags) */
Napi::Value CreateMap(const Napi::CallbackInfo &info)
{
    const Arguments arguments(info, "map create");
    const uint32_t type = arguments.U32(0, "type", 1);
    const std::string name = arguments.Has(1) ? arguments.Text(1, "name") : "";
    auto options = Options<bpf_map_create_opts>();
    options.map_flags = arguments.U32(5, "flags");
    Descriptor fd = Adopt(info.Env(),
                          bpf_map_create(static_cast<bpf_map_type>(type), name.empty() ? nullptr : name.c_str(),
                                         arguments.U32(2, "keySize"), arguments.U32(3, "valueSize"),
                                         arguments.U32(4, "maxEntries"), &options),
                          "map", "map create", name);
    return Map::Create(info.Env(), std::move(fd), "map create");
}

} // namespace

void Map::Init(Napi::Env env, Napi::Object exports)
{
    Napi::Function constructor = DefineClass(
        env, "NativeMap",
        {InstanceMethod<&Map::Info>("info"), InstanceMethod<&Map::Memory>("memory"),
         InstanceMethod<&Map::Lookup>("lookup"), InstanceMethod<&Map::Update>("update"),
         InstanceMethod<&Map::Remove>("remove"), InstanceMethod<&Map::Push>("push"), InstanceMethod<&Map::Pop>("pop"),
         InstanceMethod<&Map::Dump>("dump"), InstanceMethod<&Map::UpdateBatch>("updateBatch"),
         InstanceMethod<&Map::RemoveBatch>("removeBatch"), InstanceMethod<&Map::Pin>("pin"),
         InstanceMethod("close", static_cast<void (Map::*)(const Napi::CallbackInfo &)>(&Map::Close))});
    Environment::Of(env).map = Napi::Persistent(constructor);
    exports["openMap"] = Napi::Function::New<OpenMap>(env, "openMap");
    exports["mapById"] = Napi::Function::New<MapById>(env, "mapById");
    exports["createMap"] = Napi::Function::New<CreateMap>(env, "createMap");
}
