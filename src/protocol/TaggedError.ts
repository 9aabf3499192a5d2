/**
 * Makes the base of an error class in one expression: a `Schema.TaggedError` whose message is made of its fields.
 *
 * @since 0.1.0
 */

import type * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"

/**
 * The base of an error class of `module`, whose identifier is the name of the module and the tag. `message` makes the sentence for a
 * person when it is read, and `more` is what all errors of the class have in common.
 *
 * @since 0.1.0
 */
export const make =
  (module: string) =>
  <Self>() =>
  <const Tag extends string, const Fields extends Schema.Struct.Fields, More extends object = {}>(
    tag: Tag,
    fields: Fields,
    message: (fields: Schema.TaggedStruct<Tag, Fields>["Type"]) => string,
    more?: More
  ): Schema.Class<Self, Schema.TaggedStruct<Tag, Fields>, Cause.YieldableError & More> => {
    // The compiler does not know that `Self` is given.
    const base = Schema.TaggedError<Self>(`${module}/${tag}`)(tag, fields) as unknown as
      & Schema.Class<Self, Schema.TaggedStruct<Tag, Fields>, Cause.YieldableError & More>
      & { readonly prototype: object }
    // On the prototype, since a class of Schema cannot be extended by another class.
    Object.defineProperty(Object.assign(base.prototype, more), "message", {
      get(this: Schema.TaggedStruct<Tag, Fields>["Type"]) {
        return message(this)
      }
    })
    return base
  }
