/work/main/--help/stamp.bpf.o: bpf/stamp.bpf.c vmlinux/vmlinux.h \
  bpf/socket.bpf.h bpf/flow.bpf.h include/sluice_abi.h \
  include/sluice_table.h include/sluice_reasons.h

vmlinux/vmlinux.h:

bpf/socket.bpf.h:

bpf/flow.bpf.h:

include/sluice_abi.h:

include/sluice_table.h:

include/sluice_reasons.h:
