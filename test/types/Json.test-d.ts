/**
 * What the compiler promises about data as the script has them: their form in JSON. `tsc` checks this file; nothing runs it.
 */
import { Schema } from "effect"
import { expectTypeOf } from "vitest"
import type { Data, Response } from "../../src/browser/script.ts"
import { Event } from "../../src/index.ts"

const data = Event.make("say", {
  payload: {
    text: Schema.String,
    date: Schema.Date,
    utc: Schema.DateTimeUtc,
    zoned: Schema.optionalKey(Schema.DateTimeZoned),
    big: Schema.BigInt,
    bigDecimal: Schema.BigDecimal,
    url: Schema.URL,
    bytes: Schema.Uint8Array,
    lines: Schema.Array(Schema.Struct({ at: Schema.DateTimeUtc }))
  },
  success: Schema.Array(Schema.DateTimeUtc)
})

expectTypeOf<Data<typeof data>>().toEqualTypeOf<{
  readonly text: string
  readonly date: string
  readonly utc: string
  readonly zoned?: string
  readonly big: string
  readonly bigDecimal: string
  readonly url: string
  readonly bytes: string
  readonly lines: ReadonlyArray<{ readonly at: string }>
}>()
expectTypeOf<Response<typeof data>>().toEqualTypeOf<ReadonlyArray<string>>()
