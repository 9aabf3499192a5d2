import { describe, expect, it } from "vitest"
import { spreadOf } from "./Bench.ts"
import * as Processor from "./processor.ts"
import * as Profile from "./profile.ts"

const node = (id: number, functionName: string, url: string) => ({
  id,
  callFrame: { functionName, scriptId: "1", url, lineNumber: 6, columnNumber: 0 }
})

const root = "file:///somewhere/kosmonaut"
const seen = Profile.of({
  nodes: [
    node(1, "(idle)", ""),
    node(2, "(garbage collector)", ""),
    node(3, "writev", ""),
    node(4, "onStreamRead", "node:internal/stream_base_commons"),
    node(5, "send", `${root}/node_modules/zeromq/lib/index.js`),
    node(6, "parse", `${root}/src/protocol/Json.ts`),
    node(7, "runLoop", `${root}/node_modules/effect/dist/internal/effect.js`),
    node(8, "handle", `${root}/test/bench/parties/worker.ts`),
    node(9, "decode", `${root}/src/protocol/CommandCodec.ts`),
    node(10, "enqueue", `${root}/src/server/engine/EventQueue.ts`),
    node(11, "count", `${root}/src/client/ClientMetrics.ts`),
    node(12, "post", "node:inspector")
  ],
  startTime: 0,
  endTime: 1,
  samples: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 9],
  timeDeltas: [500, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 500, 8]
})

describe("a profile", () => {
  it("says what each part has of the time that the process was busy with its work", () => {
    expect(seen.busyMilliseconds).toBe(0.018)
    const eighteenths = Object.entries(seen.parts).map(([part, share]) => [part, Math.round(share * 18)])
    expect(Object.fromEntries(eighteenths)).toEqual({
      system: 3,
      JSON: 1,
      fibers: 2,
      messages: 9,
      engine: 1,
      metrics: 1,
      garbage: 1
    })
    expect(seen.functions[0]).toEqual({ name: "decode protocol/CommandCodec.ts:7", percent: 50 })
  })

  it("is a row of shares of all threads, beside what was measured without it", () => {
    const title = "256 fibers"
    const name = "Kosmonaut, ZeroMQ"
    const usage = { client: { cpu: 12, reads: 0, writes: 0, bytes: 0, main: 9, allocated: 3400 } }
    const table = Processor.markdown([{
      scenario: "broadcast",
      title,
      metric: "requests",
      name: "requests",
      unit: "requests/s",
      better: "more",
      figures: [{ name, ...spreadOf([1]), samples: [1], usage, ratios: {} }]
    }], [{ place: ["broadcast", title, name], processes: { client: seen }, allocations: {} }])
    const cells = table.split("\n").at(-1)!.split("|").map((cell) => cell.trim())
    expect(cells.slice(2, -1)).toEqual(["client", "12.0", "13", "4", "8", "38", "4", "4", "4", "25", "3.4 k"])
  })
})

describe("a profile of allocations", () => {
  it("has what was collected meanwhile", async () => {
    await Profile.startAllocations()
    let last: ReadonlyArray<number> = []
    for (let i = 0; i < 500; i++) last = Array.from({ length: 5000 }, () => i)
    const { bytes } = await Profile.stopAllocations()
    expect(last).toHaveLength(5000)
    expect(bytes).toBeGreaterThan(500 * 5000 * 8 / 2)
  })
})
