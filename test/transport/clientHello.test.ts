import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as ClientHello from "../../src/transport/internal/clientHello.ts"
import * as TlsHello from "../harness/TlsHello.ts"
import { bytes, int } from "../protocol/arbitraries.ts"

const hello = await TlsHello.make()
const x25519 = await TlsHello.make({ ecdhCurve: "X25519" })
const old = await TlsHello.make({ maxVersion: "TLSv1.2" })

/** The same message in records of these sizes, and one for the rest. */
const inRecords = (sizes: ReadonlyArray<number>, message = hello): Buffer => {
  const records: Array<Buffer> = []
  let rest = message.subarray(5)
  for (const size of [...sizes, rest.length]) {
    const part = rest.subarray(0, size)
    rest = rest.subarray(size)
    if (part.length > 0) records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part)
  }
  return Buffer.concat(records)
}

describe("the first message of TLS", () => {
  it.prop("is whole with its last byte, in however many records", [
    Arbitrary.array(int(1, 300), { maxLength: 10 }),
    int(0, 10_000)
  ], ([sizes, at]) => {
    const message = inRecords(sizes)
    assert.isTrue(ClientHello.isWhole(message))
    assert.isTrue(ClientHello.isWhole(Buffer.concat([message, Buffer.from("more")])))
    for (const length of [0, 1, at % message.length, message.length - 1]) {
      assert.isFalse(ClientHello.isWhole(message.subarray(0, length)), String(length))
    }
  })

  it.prop("has a key of a group, in however many records and whatever follows", [
    Arbitrary.array(int(1, 300), { maxLength: 10 }),
    bytes
  ], ([sizes, more]) => {
    for (const message of [inRecords(sizes, x25519), Buffer.concat([inRecords(sizes, x25519), Buffer.from(more)])]) {
      assert.isTrue(ClientHello.hasKeyOf(message, new Set([23, 29])))
      assert.isFalse(ClientHello.hasKeyOf(message, new Set([23, 24])))
    }
    assert.isTrue(ClientHello.hasKeyOf(inRecords(sizes, old), new Set()))
  })

  it.prop("has none if it is malformed, and never fails", [bytes, int(0, 2000), int(0, 255)], ([some, at, byte]) => {
    assert.isFalse(ClientHello.hasKeyOf(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0]), new Set([29])))
    assert.isFalse(ClientHello.hasKeyOf(x25519.subarray(0, at % 40), new Set([29])))
    ClientHello.hasKeyOf(Buffer.from(some), new Set([29]))
    const changed = Buffer.from(x25519)
    changed[at % changed.length] = byte
    ClientHello.hasKeyOf(changed, new Set([29]))
  })

  it.prop("is never waited for if it is too large or malformed", [bytes], ([some]) => {
    const rest = Buffer.alloc(16_385, some.length === 0 ? "x" : Buffer.from(some))
    assert.isTrue(ClientHello.isWhole(rest))
    assert.isTrue(ClientHello.isWhole(Buffer.from("GET / HTTP/1.1")))
    assert.isTrue(ClientHello.isWhole(Buffer.from([22, 3, 1, 0, 0])))
    assert.isTrue(ClientHello.isWhole(Buffer.from([22, 3, 1, 255, 255])))
  })
})
