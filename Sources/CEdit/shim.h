// libedit's el_set and history are variadic, hence out of Swift's reach: one inline function for each use we make of them.
#ifndef SYNOD_EDIT_SHIM_H
#define SYNOD_EDIT_SHIM_H

#include <histedit.h>
#include <stddef.h>
#include <stdio.h>

typedef char *(*synod_prompt_function)(EditLine *);
typedef unsigned char (*synod_key_function)(EditLine *, int);

static inline EditLine *synod_edit_start(const char *program) { return el_init(program, stdin, stdout, stderr); }
static inline void synod_flush_output(void) { fflush(stdout); }
/// The prompt; text between \1 characters takes no room on the screen.
static inline int synod_edit_set_prompt(EditLine *editor, synod_prompt_function prompt) {
  return el_set(editor, EL_PROMPT_ESC, prompt, '\1');
}
static inline int synod_edit_set_emacs(EditLine *editor) { return el_set(editor, EL_EDITOR, "emacs"); }
static inline int synod_edit_set_history(EditLine *editor, History *lines) { return el_set(editor, EL_HIST, history, lines); }
static inline int synod_edit_set_data(EditLine *editor, void *data) { return el_set(editor, EL_CLIENTDATA, data); }
static inline void *synod_edit_data(EditLine *editor) {
  void *data = NULL;
  el_get(editor, EL_CLIENTDATA, &data);
  return data;
}
/// Binds `key` (as editrc writes it) to a function of ours.
static inline int synod_edit_bind(EditLine *editor, const char *name, const char *help, const char *key, synod_key_function run) {
  int result = el_set(editor, EL_ADDFN, name, help, run);
  return result != 0 ? result : el_set(editor, EL_BIND, key, name, NULL);
}
/// Binds `key` to one of libedit's own commands.
static inline int synod_edit_bind_builtin(EditLine *editor, const char *key, const char *command) {
  return el_set(editor, EL_BIND, key, command, NULL);
}
/// While a line is edited, Ctrl-C and its like arrive as keys, not as signals.
static inline int synod_edit_keys_not_signals(EditLine *editor) { return el_set(editor, EL_SETTY, "-d", "-isig", NULL); }
static inline int synod_edit_refresh(EditLine *editor) { return el_set(editor, EL_REFRESH, NULL); }

static inline void synod_history_limit(History *lines, int count) {
  HistEvent event;
  history(lines, &event, H_SETSIZE, count);
  history(lines, &event, H_SETUNIQUE, 1);
}
static inline void synod_history_enter(History *lines, const char *line) {
  HistEvent event;
  history(lines, &event, H_ENTER, line);
}
static inline int synod_history_load(History *lines, const char *path) {
  HistEvent event;
  return history(lines, &event, H_LOAD, path);
}
static inline int synod_history_save(History *lines, const char *path) {
  HistEvent event;
  return history(lines, &event, H_SAVE, path);
}

#endif
