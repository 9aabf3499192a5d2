/**
 * The names of channels, and the kind that follows from a name.
 *
 * @since 0.1.0
 */

/**
 * What a channel is: anybody may join a `normal` one, a permission is needed for `private` and `presence`, and a
 * `presence` channel also sends its members who joins and leaves.
 *
 * @since 0.1.0
 */
export type Kind = "normal" | "private" | "presence"

/**
 * Whether a channel can have this name: `^\w[\w\-.]*$` as in WebRocket 0.3, and at most 255 characters.
 *
 * @since 0.1.0
 */
export const isValid = (name: string): boolean => name.length <= 255 && /^\w[\w\-.]*$/.test(name)

/**
 * The kind a name gives its channel, by the word before its first `-`: `presence`, `private`, or any other or none.
 *
 * @since 0.1.0
 */
export const kind = (name: string): Kind =>
  name.startsWith("presence-") ? "presence" : name.startsWith("private-") ? "private" : "normal"
