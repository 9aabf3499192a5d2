import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as ClientHello from "../../src/transport/internal/clientHello.ts"
import * as TlsHello from "../harness/TlsHello.ts"
import { bytes, int } from "../protocol/arbitraries.ts"

const hello = await TlsHello.make()

/** The same message in records of these sizes, and one for the rest. */
const inRecords = (sizes: ReadonlyArray<number>): Buffer => {
  const records: Array<Buffer> = []
  let rest = hello.subarray(5)
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

  it.prop("is never waited for if it is too large or malformed", [bytes], ([some]) => {
    const rest = Buffer.alloc(16_385, some.length === 0 ? "x" : Buffer.from(some))
    assert.isTrue(ClientHello.isWhole(rest))
    assert.isTrue(ClientHello.isWhole(Buffer.from("GET / HTTP/1.1")))
    assert.isTrue(ClientHello.isWhole(Buffer.from([22, 3, 1, 0, 0])))
    assert.isTrue(ClientHello.isWhole(Buffer.from([22, 3, 1, 255, 255])))
  })
})
