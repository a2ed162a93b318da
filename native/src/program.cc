// SPDX-License-Identifier: MIT
#include "program.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <cstring>
#include <vector>

const napi_type_tag Program::kTag = {0x6c69626270660002, 0x9d0f3a55b1c24e02};

namespace
{

int ReadInfo(int fd, bpf_prog_info &info)
{
    uint32_t length = sizeof(info);
    return bpf_obj_get_info_by_fd(fd, &info, &length) ? errno : 0;
}

std::string Hex(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < size; i++) {
        text += digits[bytes[i] >> 4];
        text += digits[bytes[i] & 15];
    }
    return text;
}

Napi::Value OpenProgram(const Napi::CallbackInfo &info)
{
    const std::string path = Arguments(info, "program open").Text(0, "path");
    Descriptor fd = Adopt(info.Env(), bpf_obj_get(path.c_str()), "prog", "program open", path);
    return Program::Create(info.Env(), std::move(fd), "program open");
}

Napi::Value ProgramById(const Napi::CallbackInfo &info)
{
    const uint32_t id = Arguments(info, "program open").U32(0, "id", 1);
    Descriptor fd = Adopt(info.Env(), bpf_prog_get_fd_by_id(id), "prog", "program open", "#" + std::to_string(id));
    return Program::Create(info.Env(), std::move(fd), "program open");
}

} // namespace

std::string ProgramName(uint32_t id)
{
    const Descriptor fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    if (!fd.valid() || ReadInfo(fd.get(), info))
        return "";
    return info.name;
}

Napi::Object Program::Create(Napi::Env env, Descriptor fd, const std::string &operation)
{
    bpf_prog_info info{};
    if (const int error = ReadInfo(fd.get(), info))
        Fail(env, error, operation);
    return Wrapped<Program>::Create(env, std::move(fd), info.name[0] ? info.name : "#" + std::to_string(info.id));
}

Napi::Value Program::Info(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const int fd = Fd(env, "program info");
    bpf_prog_info first{};
    if (const int error = ReadInfo(fd, first))
        Fail(env, error, "program info", subject_);
    // Asked twice: the first answer says how much room the map ids need.
    std::vector<uint32_t> maps(first.nr_map_ids);
    bpf_prog_info second{};
    second.nr_map_ids = first.nr_map_ids;
    second.map_ids = reinterpret_cast<uintptr_t>(maps.data());
    if (const int error = ReadInfo(fd, second))
        Fail(env, error, "program info", subject_);

    Napi::Object result = Napi::Object::New(env);
    result["id"] = second.id;
    result["type"] = second.type;
    result["name"] = Napi::String::New(env, second.name);
    result["tag"] = Hex(second.tag, sizeof(second.tag));
    result["jitedBytes"] = second.jited_prog_len;
    result["translatedBytes"] = second.xlated_prog_len;
    result["verifiedInstructions"] = second.verified_insns;
    Napi::Array ids = Napi::Array::New(env, maps.size());
    for (size_t i = 0; i < maps.size(); i++)
        ids[static_cast<uint32_t>(i)] = maps[i];
    result["mapIds"] = ids;
    return result;
}

void Program::Pin(const Napi::CallbackInfo &info)
{
    const int fd = Fd(info.Env(), "program pin");
    const std::string path = Arguments(info, "program pin").Text(0, "path");
    if (bpf_obj_pin(fd, path.c_str()))
        Fail(info.Env(), errno, "program pin", path);
}

void Program::Init(Napi::Env env, Napi::Object exports)
{
    Napi::Function constructor = DefineClass(
        env, "NativeProgram",
        {InstanceMethod<&Program::Info>("info"), InstanceMethod<&Program::Pin>("pin"),
         InstanceMethod<&Program::TestRun>("testRun"), InstanceMethod<&Program::TestRunAsync>("testRunAsync"),
         InstanceMethod("close", static_cast<void (Program::*)(const Napi::CallbackInfo &)>(&Program::Close))});
    Environment::Of(env).program = Napi::Persistent(constructor);
    exports["openProgram"] = Napi::Function::New<OpenProgram>(env, "openProgram");
    exports["programById"] = Napi::Function::New<ProgramById>(env, "programById");
}
