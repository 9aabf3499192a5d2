import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Option, Redacted, Result } from "effect"
import { inspect } from "node:util"
import * as Endpoint from "../../src/protocol/Endpoint.ts"
import * as Identity from "../../src/protocol/Identity.ts"
import { endpoint, garbage, identity, int, oneOf, pick } from "./arbitraries.ts"

const token = "b444aa042e176fe65be600a92fc71f926ee71ee6"
const id = "7b5d2a5e-18c8-4b0a-9a65-9f7d1d9f1c11"

/** The pattern as the specification writes it, and the bound that ZeroMQ adds. */
const specified = (text: string) =>
  /^(dlr|req):(\/[\w-]+(\/[\w-]+)*):([\w]{40}):([\w-]{36})$/.test(text) && text.split(":")[1].length <= 128

describe("Identity", () => {
  it("is written as type, vhost, token and id", () => {
    const url = `wr://${token}@127.0.0.1:8081/moon/dark-side`
    const made = Identity.make("req", Result.getOrThrow(Endpoint.fromUrl(url)), id)
    expect(Identity.encode(made)).toBe(`req:/moon/dark-side:${token}:${id}`)
  })

  it("is read into type, vhost, token and id", () => {
    const read = Option.getOrThrow(Identity.decode(`dlr:/moon/dark-side:${token}:${id}`))
    expect({ ...read, token: Redacted.value(read.token) }).toEqual({ kind: "dlr", vhost: "/moon/dark-side", token, id })
  })

  it.prop("is read as it was written", [identity], ([written]) => {
    const read = Option.getOrThrow(Identity.decode(Identity.encode(written)))
    expect({ ...read, token: Redacted.value(read.token) }).toEqual({ ...written, token: Redacted.value(written.token) })
  })

  it.prop("of an endpoint fits a ZeroMQ routing id", [endpoint, pick(["req", "dlr"])], ([endpoint, kind]) => {
    const text = Identity.encode(Identity.make(kind, endpoint, id))
    expect(text.length).toBeLessThanOrEqual(255)
    expect(Option.isSome(Identity.decode(text))).toBe(true)
  })

  it("fits a ZeroMQ routing id with the longest vhost", () => {
    const longest = `req:/${"v".repeat(127)}:${token}:${id}`
    expect(Option.isSome(Identity.decode(longest))).toBe(true)
    expect(Option.isNone(Identity.decode(longest.replace("/v", "/vv")))).toBe(true)
  })

  it.each([
    ["nothing", ""],
    ["another type", `pub:/a:${token}:${id}`],
    ["a type in capitals", `REQ:/a:${token}:${id}`],
    ["no vhost", `req::${token}:${id}`],
    ["a vhost without slash", `req:a:${token}:${id}`],
    ["a vhost that ends with a slash", `req:/a/:${token}:${id}`],
    ["an empty part in the vhost", `req:/a//b:${token}:${id}`],
    ["a letter beyond ASCII in the vhost", `req:/ż:${token}:${id}`],
    ["a colon in the vhost", `req:/a:b:${token}:${id}`],
    ["a token too short", `req:/a:${token.slice(1)}:${id}`],
    ["a token too long", `req:/a:${token}0:${id}`],
    ["a dash in the token", `req:/a:-${token.slice(1)}:${id}`],
    ["an id too short", `req:/a:${token}:${id.slice(1)}`],
    ["an id too long", `req:/a:${token}:${id}0`],
    ["no id", `req:/a:${token}`],
    ["something before it", ` req:/a:${token}:${id}`],
    ["a line break after it", `req:/a:${token}:${id}\n`],
    ["a line before it", `x\nreq:/a:${token}:${id}`],
    ["a megabyte", `req:/${"a".repeat(1_048_576)}:${token}:${id}`]
  ])("is not read from %s", (_, text) => {
    expect(Option.isNone(Identity.decode(text))).toBe(true)
  })

  const damaged = Arbitrary.map(
    Arbitrary.all([identity, int(0, 300), int(0, 1), pick(["", ":", "/", "-", "x", "\n", "ż", "req:"])]),
    ([identity, place, removed, added]) => {
      const text = Identity.encode(identity)
      const at = place % (text.length + 1)
      return text.slice(0, at) + added + text.slice(at + removed)
    }
  )

  it.prop(
    "is read from exactly what the specification allows, and from nothing else",
    [oneOf(damaged, garbage)],
    ([text]) => {
      expect(Option.isSome(Identity.decode(text))).toBe(specified(text))
    },
    { arbitrary: { runs: 300 } }
  )

  it("shows its token only when it is written to the wire", () => {
    const read = Option.getOrThrow(Identity.decode(`req:/a:${token}:${id}`))
    expect(inspect(read, { depth: 9, showHidden: true })).not.toContain(token)
    expect(inspect(Option.some(read))).not.toContain(token)
    expect(JSON.stringify(read)).not.toContain(token)
    expect(Object.values(read).map(String)).toEqual(["req", "/a", "<redacted>", id])
  })
})
