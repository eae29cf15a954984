/work/main/--help/named.bpf.o: bpf/named.bpf.c bpf/sluice.bpf.c \
  bpf/socket_hook.bpf.h /usr/include/x86_64-linux-gnu/asm/errno.h \
  bpf/subject.bpf.h bpf/flow.bpf.h include/sluice_abi.h \
  include/sluice_table.h include/sluice_reasons.h bpf/maps.bpf.h \
  bpf/socket.bpf.h bpf/verdict.bpf.h include/sluice_reader.h \
  bpf/names.bpf.h bpf/event.bpf.h bpf/limit.bpf.h bpf/hook.bpf.h \
  bpf/packet_hook.bpf.h bpf/packet.bpf.h bpf/state.bpf.h \
  bpf/fragment.bpf.h bpf/segment.bpf.h bpf/sni.bpf.h bpf/dns.bpf.h \
  include/sluice_dns.h include/sluice_tls.h

bpf/sluice.bpf.c:

bpf/socket_hook.bpf.h:

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

bpf/names.bpf.h:

bpf/event.bpf.h:

bpf/limit.bpf.h:

bpf/hook.bpf.h:

bpf/packet_hook.bpf.h:

bpf/packet.bpf.h:

bpf/state.bpf.h:

bpf/fragment.bpf.h:

bpf/segment.bpf.h:

bpf/sni.bpf.h:

bpf/dns.bpf.h:

include/sluice_dns.h:

include/sluice_tls.h:
