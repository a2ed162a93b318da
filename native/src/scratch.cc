// SPDX-License-Identifier: MIT
#include "scratch.h"

#include <bpf/bpf.h>
#include <sched.h>

#include <cerrno>
#include <system_error>
#include <thread>

namespace scratch
{

Descriptor Program(bpf_prog_type type, int answer)
{
    bpf_insn instructions[2]{};
    instructions[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
    instructions[0].dst_reg = BPF_REG_0;
    instructions[0].imm = answer;
    instructions[1].code = BPF_JMP | BPF_EXIT;
    return Descriptor(bpf_prog_load(type, "probe", "GPL", instructions, 2, nullptr));
}

int InNamespace(const std::function<int()> &work)
{
    int result = 0;
    try {
        // A thread's namespace is its own: the process stays where it is.
        std::thread thread([&] { result = unshare(CLONE_NEWNET) ? errno : work(); });
        thread.join();
    } catch (const std::system_error &failure) {
        return failure.code().value();
    }
    return result;
}

} // namespace scratch
