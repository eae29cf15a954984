/work/main/--help/clang19/lsm.bpf.o: bpf/lsm.bpf.c \
  /usr/include/x86_64-linux-gnu/asm/errno.h bpf/subject.bpf.h \
  bpf/flow.bpf.h include/sluice_abi.h include/sluice_table.h \
  include/sluice_reasons.h bpf/maps.bpf.h bpf/socket.bpf.h \
  bpf/verdict.bpf.h include/sluice_reader.h bpf/event.bpf.h
/usr/include/x86_64-linux-gnu/asm/errno.h:
bpf/subject.bpf.h:
bpf/flow.bpf.h:
include/sluice_abi.h:
include/sluice_table.h:
include/sluice_reasons.h:
bpf/maps.bpf.h:
bpf/socket.bpf.h:
bpf/verdict.bpf.h:
include/sluice_reader.h:
bpf/event.bpf.h:
