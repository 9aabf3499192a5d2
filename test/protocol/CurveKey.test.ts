import { assert, describe, it } from "@effect/vitest"
import * as CurveKey from "../../src/protocol/CurveKey.ts"
import { garbage, matching } from "./arbitraries.ts"

describe("CurveKey", () => {
  it("reads the key of the RFC in either form", () => {
    // The client's public key of RFC 26.
    const hex = "bb88471d65e2659b30c55a5321cebb5aab2b70a398645c26dca2b2fcb43fc518"
    const z85 = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
    assert.strictEqual(CurveKey.parse(z85), hex)
    assert.strictEqual(CurveKey.parse(hex.toUpperCase()), hex)
    assert.strictEqual(CurveKey.toZ85(hex), z85)
  })

  it.prop("reads back what it has written", [matching(/^[\da-f]{64}$/)], ([hex]) => {
    assert.strictEqual(CurveKey.parse(CurveKey.toZ85(hex)), hex)
  })

  it.prop("reads nothing else", [garbage], ([text]) => {
    const key = CurveKey.parse(text)
    if (key !== undefined) assert.match(key, /^[\da-f]{64}$/)
  })

  it.each(["", "ab".repeat(31), "ab".repeat(33), "#".repeat(40), "\"".repeat(40), "~".repeat(40)])(
    "does not read %j",
    (text) => {
      assert.isUndefined(CurveKey.parse(text))
    }
  )
})
