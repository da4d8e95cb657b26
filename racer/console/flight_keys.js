// Keyboard piloting: which keys act, when, and that every press ends in a release.
//
// A key that is held flies; its release stops (or resumes the key still held below it). The
// operating system's auto-repeat is dropped here, so a held key costs one command and a small
// "alive" beat, which goes on while the server says that this page's drone moves. Losing the
// window's focus releases everything, because the key-up will never come.
const ALIVE_EVERY_MS = 250;

const isEditable = (element) =>
  !!element &&
  (element.isContentEditable ||
    ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName) ||
    !!element.closest(".q-menu, .q-dialog, [role=listbox], [role=combobox]"));

export default {
  template: `
    <div class="keys-state" :class="{ 'keys-on': ready }" role="status">
      <span class="keys-lamp" aria-hidden="true"></span>{{ label }}
    </div>`,
  props: { holds: Object, taps: Object, labels: Object, watched: Boolean },
  data() {
    return { held: [], holding: false, windowFocused: document.hasFocus(), typing: false };
  },
  watch: {
    watched() {
      this.beatOn();
    },
  },
  computed: {
    ready() {
      return this.windowFocused && !this.typing;
    },
    label() {
      if (!this.windowFocused) return this.labels.away;
      return this.typing ? this.labels.typing : this.labels.ready;
    },
  },
  mounted() {
    this.listeners = [
      [document, "keydown", this.onKeyDown],
      [document, "keyup", this.onKeyUp],
      [document, "focusin", this.onFocus],
      [document, "focusout", () => setTimeout(this.onFocus, 0)],
      [document, "visibilitychange", () => document.hidden && this.releaseAll()],
      [window, "blur", this.onBlur],
      [window, "focus", this.onWindowFocus],
      [window, "pagehide", this.releaseAll],
    ];
    for (const [target, name, handler] of this.listeners) {
      target.addEventListener(name, handler, true);
    }
  },
  beforeUnmount() {
    for (const [target, name, handler] of this.listeners) {
      target.removeEventListener(name, handler, true);
    }
    this.releaseAll();
    clearInterval(this.beat);
  },
  methods: {
    onFocus() {
      this.typing = isEditable(document.activeElement);
      if (this.typing) this.releaseAll();
    },
    onWindowFocus() {
      this.windowFocused = true;
    },
    onBlur(event) {
      if (event.target !== window) return; // a field's blur passes by here too
      this.windowFocused = false;
      this.releaseAll();
    },
    onKeyDown(event) {
      this.windowFocused = true; // a key arrives only here
      const command = this.holds[event.code] ?? this.taps[event.code];
      if (!command || !this.mine(event)) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.repeat || this.held.includes(event.code)) return;
      if (event.code in this.holds) {
        this.held.push(event.code);
        this.send(command, true);
      } else {
        this.held = [];
        this.send(command, false);
      }
    },
    onKeyUp(event) {
      if (event.code === "Space" && this.mine(event)) event.preventDefault(); // no button click
      if (!this.held.includes(event.code)) return;
      event.preventDefault();
      const top = this.held[this.held.length - 1];
      this.held = this.held.filter((code) => code !== event.code);
      if (event.code !== top) return;
      const below = this.held[this.held.length - 1];
      if (below) this.send(this.holds[below], true);
      else this.send("stop", false, true);
    },
    mine(event) {
      if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return false;
      const focus = document.activeElement;
      if (isEditable(focus)) return false;
      // Outside the pad a focused control keeps its space bar: it is how keyboards press buttons.
      const elsewhere = focus && focus !== document.body && !focus.closest("[data-flight-pad]");
      return !(event.code === "Space" && elsewhere && focus.matches("a, button, [role], [tabindex]"));
    },
    send(command, held, released = false) {
      // Without a connection a command would wait in the socket's buffer and fly the drone later.
      if (!window.socket?.connected) return;
      this.mark(held ? command : null);
      this.$emit("command", { command, held, released });
      this.holding = held;
      this.beatOn();
    },
    beatOn() {
      clearInterval(this.beat);
      if (!this.holding && !this.watched) return;
      this.beat = setInterval(() => this.$emit("alive"), ALIVE_EVERY_MS);
    },
    releaseAll() {
      if (!this.held.length) return;
      this.held = [];
      this.send("stop", false, true);
    },
    mark(command) {
      for (const button of document.querySelectorAll("[data-command]")) {
        button.classList.toggle("is-held", button.dataset.command === command);
      }
    },
  },
};
