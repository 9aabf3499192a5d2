import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Tracer } from "effect"
import * as Trace from "../../src/protocol/Trace.ts"
import * as RecordingTracer from "../harness/recordingTracer.ts"
import { garbage, matching, pick } from "./arbitraries.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

/** A span of some other tracer. */
const spanOf = (ids: { readonly traceId: string; readonly spanId: string; readonly sampled: boolean }): Tracer.Span =>
  ids as Tracer.Span

describe("Trace", () => {
  it.effect("makes no span where nobody traces, and does not ask what it would be", () =>
    Effect.gen(function*() {
      const seen = yield* Trace.span("a", () => expect.fail("asked"), (span) => Effect.succeed([span]))
      expect(seen).toEqual([undefined])
    }))

  it.effect("makes one where there is a tracer, within the present one, and ends it", () =>
    Effect.gen(function*() {
      const { spans, tracer } = RecordingTracer.make()
      const inner = yield* Trace.span(
        "outer",
        () => ({ kind: "server", attributes: { a: 1 } }),
        (outer) => {
          expect(outer).toBe(spans[0])
          return Trace.span("inner", () => ({}), (inner) =>
            Effect.map(Effect.currentSpan, (current) => {
              expect(current).toBe(inner)
              expect(inner?.status._tag).toBe("Started")
              return inner
            }))
        }
      ).pipe(Effect.provideService(Tracer.Tracer, tracer))
      expect(spans.map(({ kind, name, status }) => [name, kind, status._tag])).toEqual([
        ["outer", "server", "Ended"],
        ["inner", "internal", "Ended"]
      ])
      expect(spans[0]!.attributes.get("a")).toBe(1)
      expect(inner).toBe(spans[1])
      expect(Option.getOrUndefined(spans[1]!.parent)).toBe(spans[0])
    }))

  it.effect("ends a span with the failure of what it is around", () =>
    Effect.gen(function*() {
      const { spans, tracer } = RecordingTracer.make()
      const failure = yield* Trace.span("a", () => ({}), () => Effect.fail("no")).pipe(
        Effect.provideService(Tracer.Tracer, tracer),
        Effect.flip
      )
      expect(failure).toBe("no")
      expect(spans[0]!.status).toMatchObject({ _tag: "Ended", exit: { _tag: "Failure" } })
    }))

  it.prop("travels as W3C trace context and comes back as it was", [
    matching(/^[0-9a-f]{32}$/),
    matching(/^[0-9a-f]{16}$/),
    pick([true, false])
  ], ([traceId, spanId, sampled]) => {
    const traceparent = Trace.toTraceparent(spanOf({ traceId, spanId, sampled }))
    if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return expect(traceparent).toBe(undefined)
    expect(traceparent).toBe(`00-${traceId}-${spanId}-${sampled ? "01" : "00"}`)
    expect(Trace.fromTraceparent(traceparent)).toMatchObject({ _tag: "ExternalSpan", traceId, spanId, sampled })
  })

  it("writes an id of 64 bits as one of 128, and nothing that is none", () => {
    expect(Trace.toTraceparent(spanOf({ traceId: traceId.slice(16), spanId, sampled: true }))).toBe(
      `00-0000000000000000${traceId.slice(16)}-${spanId}-01`
    )
    for (
      const ids of [
        { traceId: "native", spanId },
        { traceId, spanId: "1" },
        { traceId: traceId.toUpperCase(), spanId },
        { traceId, spanId: `${spanId}\n` },
        { traceId: "0", spanId },
        { traceId, spanId: "0".repeat(16) }
      ]
    ) {
      expect(Trace.toTraceparent(spanOf({ ...ids, sampled: true }))).toBe(undefined)
    }
  })

  it("reads the flag of sampling among others", () => {
    for (const [flags, sampled] of [["00", false], ["01", true], ["02", false], ["ff", true]] as const) {
      expect(Trace.fromTraceparent(`00-${traceId}-${spanId}-${flags}`)?.sampled).toBe(sampled)
    }
  })

  it.each([
    undefined,
    "",
    "00",
    `01-${traceId}-${spanId}-01`,
    `ff-${traceId}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-1`,
    `00-${traceId}-${spanId}-01-more`,
    ` 00-${traceId}-${spanId}-01`,
    `00-${traceId}-${spanId}-01\n`
  ])("reads no span in %j", (traceparent) => {
    expect(Trace.fromTraceparent(traceparent)).toBe(undefined)
  })

  it.prop("reads a span or none in anything", [garbage], ([text]) => {
    expect(Trace.fromTraceparent(text)).toBe(undefined)
  })
})
