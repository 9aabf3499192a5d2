import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Frame from "../../../../../src/server/endpoint/internal/browser/frame.ts"
import * as SharedWrite from "../../../../../src/server/endpoint/internal/browser/sharedWrite.ts"
import { int } from "../../../../protocol/arbitraries.ts"

const textOf = ({ bytes }: Frame.Frame) => Buffer.from(bytes).toString("latin1")

describe("what is written in a turn", () => {
  it.prop("has the frames that each browser was sent, in their order", [
    Arbitrary.array(Arbitrary.all([int(0, 3), int(0, 4)]), { maxLength: 40 }),
    int(0, 40)
  ], ([sent, cleared]) => {
    const writes = SharedWrite.make()
    const frames = Array.from({ length: 5 }, (_, index) => Frame.text(`frame ${index}`))
    const browsers = Array.from({ length: 4 }, () => new Array<Frame.Frame>())
    const written = Array.from<SharedWrite.SharedWrite | undefined>({ length: 4 })
    sent.forEach(([browser, frame], index) => {
      browsers[browser]!.push(frames[frame]!)
      written[browser] = writes.add(written[browser], frames[frame]!, () => {})
      if (index === cleared) writes.clear()
    })
    browsers.forEach((expected, browser) => {
      const write = written[browser]
      assert.deepStrictEqual(write === undefined ? [] : SharedWrite.framesOf(write), expected)
      assert.strictEqual(write && textOf(SharedWrite.join(write)), write && expected.map(textOf).join(""))
    })
  })

  it("is the same for browsers that are sent the same, with its bytes", () => {
    const writes = SharedWrite.make()
    let news = 0
    const written = Array.from<SharedWrite.SharedWrite | undefined>({ length: 100 })
    for (const frame of [Frame.text("one"), Frame.text("two"), Frame.text("three")]) {
      for (let browser = 0; browser < written.length; browser++) {
        written[browser] = writes.add(written[browser], frame, () => news++)
      }
    }
    assert.strictEqual(new Set(written).size, 1)
    assert.strictEqual(news, 1)
    assert.strictEqual(SharedWrite.join(written[0]!), SharedWrite.join(written[99]!))
  })

  it("is one frame itself if there is only one", () => {
    const frame = Frame.text("one")
    assert.strictEqual(SharedWrite.join(SharedWrite.make().add(undefined, frame, () => {})), frame)
  })

  it("is forgotten at the end of the turn", () => {
    const writes = SharedWrite.make()
    const frame = Frame.text("one")
    const before = writes.add(undefined, frame, () => {})
    writes.clear()
    assert.notStrictEqual(writes.add(undefined, frame, () => {}), before)
  })
})
