// Answers every beat once the browser has drawn it: the server sends the next one only then.
export default {
  template: `<span hidden></span>`,
  props: { beat: Number },
  watch: {
    beat(value) {
      requestAnimationFrame(() => this.$emit("drawn", value));
    },
  },
};
