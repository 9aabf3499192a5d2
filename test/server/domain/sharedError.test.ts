import { expect, it } from "@effect/vitest"
import { shared } from "../../../src/server/domain/sharedError.ts"

it("an error is made once for each text, up to a limit", () => {
  let made = 0
  const error = shared((text) => ({ text, number: made++ }))
  expect(error("a")).toBe(error("a"))
  expect(error("b")).toEqual({ text: "b", number: 1 })
  for (let n = 0; n < 255; n++) error(`text ${n}`)
  expect(error("a").number).toBe(made - 1)
  const long = "x".repeat(257)
  expect(error(long)).toEqual({ text: long, number: made - 1 })
  expect(error(long)).not.toBe(error(long))
})
