import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Address from "../../../../../src/server/endpoint/internal/browser/address.ts"

const addressOf = Result.getOrThrow(Address.make(["127.0.0.0/8", "::1/128", "10.0.0.0/8", "2001:db8:ffff::/48"]))

describe("the address that a browser is counted by", () => {
  it.each<[string, string | undefined, string | undefined]>([
    ["192.0.2.1", undefined, "192.0.2.1"],
    ["::ffff:192.0.2.1", undefined, "192.0.2.1"],
    ["::ffff:c000:201", undefined, "192.0.2.1"],
    ["2001:db8::1", undefined, "2001:db8:0:0::/64"],
    ["2001:db8:0:0:ffff::2", undefined, "2001:db8:0:0::/64"],
    ["2001:DB8:0:1::1", undefined, "2001:db8:0:1::/64"],
    ["fe80::1%eth0", undefined, "fe80:0:0:0::/64"],
    ["1::", undefined, "1:0:0:0::/64"],
    ["64:ff9b::192.0.2.1", undefined, "64:ff9b:0:0::/64"]
  ])("is that of the connection: %s", (remote, forwardedFor, expected) => {
    assert.strictEqual(addressOf(remote, forwardedFor), expected)
  })

  it.each<[string, string | undefined, string | undefined]>([
    ["192.0.2.1", "198.51.100.7", "192.0.2.1"],
    ["127.0.0.1", undefined, undefined],
    ["::ffff:127.0.0.1", undefined, undefined],
    ["127.0.0.1", "", undefined],
    ["127.0.0.1", "unknown", undefined],
    ["127.0.0.1", "198.51.100.7", "198.51.100.7"],
    ["::1", "198.51.100.7", "198.51.100.7"],
    ["2001:db8:ffff::9", "2001:db8::1", "2001:db8:0:0::/64"],
    ["127.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"],
    ["127.0.0.1", "1.1.1.1,198.51.100.7 , 10.1.2.3", "198.51.100.7"],
    ["127.0.0.1", "garbage, 198.51.100.7, 10.1.2.3", "198.51.100.7"],
    ["127.0.0.1", "garbage, 10.1.2.3", "10.1.2.3"],
    ["127.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"],
    ["127.0.0.1", "198.51.100.7:4711", "198.51.100.7"],
    ["127.0.0.1", "[2001:db8::1]:4711", "2001:db8:0:0::/64"]
  ])("is what a trusted proxy sends, and no other: %s, %s", (remote, forwardedFor, expected) => {
    assert.strictEqual(addressOf(remote, forwardedFor), expected)
  })

  it("is unknown without a connection", () => {
    assert.isUndefined(addressOf(undefined, "198.51.100.7"))
  })

  it.each(["", "proxy", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "::1/129", "10.0.0.0/x", "/8"])(
    "trusts no proxy %j",
    (network) => {
      const made = Address.make([network])
      assert.isTrue(Result.isFailure(made))
      if (Result.isFailure(made)) assert.strictEqual(made.failure.option, "browsers.trustedProxies")
    }
  )
})
