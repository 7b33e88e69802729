// libedit's el_set and history are variadic, hence out of Swift's reach: one inline function for each use we make of them.
#ifndef SYNOD_EDIT_SHIM_H
#define SYNOD_EDIT_SHIM_H

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <wchar.h>

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
/// What is called, on the thread that edits, when the descriptor that `synod_edit_listen` got can be read.
typedef void (*synod_wake_function)(EditLine *);
struct synod_edit_listener {
  int descriptor;
  synod_wake_function wake;
};
static inline struct synod_edit_listener *synod_edit_listener(void) {
  static struct synod_edit_listener listener = {-1, NULL};
  return &listener;
}

/// Reads one character from the terminal, as libedit's own function does, and listens to another descriptor meanwhile.
static inline int synod_edit_read_character(EditLine *editor, wchar_t *character) {
  struct synod_edit_listener *listener = synod_edit_listener();
  mbstate_t state;
  memset(&state, 0, sizeof state);
  for (;;) {
    struct pollfd entries[2] = {{STDIN_FILENO, POLLIN, 0}, {listener->descriptor, POLLIN, 0}};
    if (poll(entries, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    if (entries[1].revents & POLLIN) {
      uint64_t count;
      if (read(listener->descriptor, &count, sizeof count) > 0) listener->wake(editor);
    }
    if (entries[0].revents == 0) continue;
    char byte;
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return (int)got;
    size_t used = mbrtowc(character, &byte, 1, &state);
    if (used == (size_t)-2) continue;
    // Bytes that are no character are taken one by one, so that nothing hangs.
    if (used == (size_t)-1) *character = (unsigned char)byte;
    return 1;
  }
}
static inline int synod_edit_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
/// While a line is edited, `wake` is called whenever `descriptor` (an eventfd) can be read. One editor at a time.
static inline int synod_edit_listen(EditLine *editor, int descriptor, synod_wake_function wake) {
  synod_edit_listener()->descriptor = descriptor;
  synod_edit_listener()->wake = wake;
  return el_set(editor, EL_GETCFN, synod_edit_read_character);
}
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
