/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* For cppcheck, which reads no header of a library: the macros of theirs that are no calls. */
#define LIBBPF_OPTS(type, name, ...) struct type name = {__VA_ARGS__}
#define json_array_foreach(array, i, value)                                                        \
	for (i = 0; (value = json_array_get(array, i)); i++)
#define bpf_object__for_each_program(program, object)                                              \
	for (program = bpf_object__next_program(object, NULL); program;                            \
	     program = bpf_object__next_program(object, program))
