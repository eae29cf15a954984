/work/main/--help/clang19/judge.bpf.o: bpf/judge.bpf.c bpf/verdict.bpf.h \
  bpf/flow.bpf.h include/sluice_abi.h include/sluice_table.h \
  include/sluice_reasons.h bpf/maps.bpf.h include/sluice_reader.h \
  bpf/judge.h
bpf/verdict.bpf.h:
bpf/flow.bpf.h:
include/sluice_abi.h:
include/sluice_table.h:
include/sluice_reasons.h:
bpf/maps.bpf.h:
include/sluice_reader.h:
bpf/judge.h:
