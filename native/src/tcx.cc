// SPDX-License-Identifier: MIT
#include "tcx.h"

#include <vector>

#include "link.h"
#include "program.h"
#include "tcx_abi.h"

namespace
{

/** Programs may come between the two calls of a query; more than this often, and the answer is EAGAIN. */
constexpr int kTries = 8;
constexpr uint32_t kRoom = 16;

std::string Subject(uint32_t ifindex)
{
    return "interface " + std::to_string(ifindex);
}

/** (ifindex, direction, program, first, expected revision or 0n) */
Napi::Value Attach(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "tcx attach");
    const uint32_t ifindex = arguments.U32(0, "ifindex", 1, INT32_MAX);
    const bool egress = arguments.Egress(1);
    const int program = Program::From(info, 2, "tcx attach").Fd(env, "tcx attach");
    const int fd =
        tcx::Attach(program, ifindex, egress, arguments.Flag(3, "first"), arguments.U64(4, "expectedRevision"));
    return Link::Create(env, Adopt(env, fd, "link", "tcx attach", Subject(ifindex)), "tcx attach");
}

struct Answer {
    tcx::ProgramQuery query{};
    std::vector<uint32_t> programs, links;
};

int Ask(uint32_t ifindex, bool egress, Answer &answer)
{
    uint32_t room = kRoom;
    for (int attempt = 0; attempt < kTries; attempt++) {
        answer.programs.assign(room, 0);
        answer.links.assign(room, 0);
        answer.query = {};
        answer.query.ifindex = ifindex;
        answer.query.attachType = egress ? tcx::kEgress : tcx::kIngress;
        answer.query.programIds = reinterpret_cast<uintptr_t>(answer.programs.data());
        answer.query.linkIds = reinterpret_cast<uintptr_t>(answer.links.data());
        answer.query.count = room;
        const int result = tcx::Call(BPF_PROG_QUERY, answer.query);
        if (result == -ENOSPC && answer.query.count > room) {
            room = answer.query.count;
            continue;
        }
        return -result;
    }
    return EAGAIN;
}

/** (ifindex, direction) */
Napi::Value Query(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    const Arguments arguments(info, "tcx query");
    const uint32_t ifindex = arguments.U32(0, "ifindex", 1, INT32_MAX);
    Answer answer;
    const int error = Ask(ifindex, arguments.Egress(1), answer);
    // ENOENT: nothing was ever attached to this interface.
    if (error && error != ENOENT)
        Fail(env, error, "tcx query", Subject(ifindex));
    const uint32_t count = error ? 0 : answer.query.count;
    Napi::Array programs = Napi::Array::New(env, count);
    for (uint32_t i = 0; i < count; i++) {
        Napi::Object item = Napi::Object::New(env);
        item["programId"] = answer.programs[i];
        item["linkId"] = answer.links[i];
        item["name"] = ProgramName(answer.programs[i]);
        programs[i] = item;
    }
    Napi::Object result = Napi::Object::New(env);
    result["revision"] = Napi::BigInt::New(env, error ? uint64_t{0} : answer.query.revision);
    result["programs"] = programs;
    return result;
}

} // namespace

void InitTcx(Napi::Env env, Napi::Object exports)
{
    exports["tcxAttach"] = Napi::Function::New<Attach>(env, "tcxAttach");
    exports["tcxQuery"] = Napi::Function::New<Query>(env, "tcxQuery");
}
