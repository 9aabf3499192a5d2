/**
 * Spans that go on at the other side of the wire.
 *
 * A span is made only where the application has a tracer: without one nothing is built, measured or sent. It travels as
 * W3C trace context's `traceparent`, never within the data of users.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

/**
 * Runs `use` within a span of this name, which it receives; without a span if nothing is traced. `options` are called
 * only if there will be a span. What `use` succeeds with may be a secret, so the tracer does not see it.
 *
 * @since 0.1.0
 */
export const span = <A, E, R>(
  name: string,
  options: () => Tracer.SpanOptionsNoTrace,
  use: (span: Tracer.Span | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan> | R> =>
  Effect.withFiber((fiber) => {
    if (!isTraced(fiber)) return use(undefined)
    let result: Effect.Effect<A>
    return Effect.useSpan(name, options(), (span) =>
      Effect.map(Effect.withParentSpan(use(span), span), (value) => {
        result = Effect.succeed(value)
      })).pipe(Effect.andThen(Effect.suspend(() => result)))
  })

/**
 * Whether somebody traces what a fiber does.
 *
 * @since 0.1.0
 */
export const isTraced = ({ context }: Pick<Fiber.Fiber<unknown, unknown>, "context">): boolean =>
  Context.get(context, Tracer.Tracer) !== Tracer.nativeTracer

/**
 * A span as a `traceparent`; `undefined` for one that is not to be seen elsewhere.
 *
 * @since 0.1.0
 */
export const toTraceparent = ({ sampled, spanId, traceId }: Tracer.Span): string | undefined => {
  const traceparent = `00-${traceId.padStart(32, "0")}-${spanId}-${sampled ? "01" : "00"}`
  return pattern.test(traceparent) ? traceparent : undefined
}

/**
 * The span that a `traceparent` names; `undefined` for any other text.
 *
 * @since 0.1.0
 */
export const fromTraceparent = (traceparent: string | undefined): Tracer.ExternalSpan | undefined => {
  const match = pattern.exec(traceparent ?? "")
  return match === null
    ? undefined
    : Tracer.externalSpan({ traceId: match[1]!, spanId: match[2]!, sampled: (parseInt(match[3]!, 16) & 1) === 1 })
}

/**
 * The span that a browser names as its message's: `traceparent` if it is one, and how the span of the broker comes after it. Without
 * one a trace begins.
 *
 * @since 0.1.0
 */
export const fromBrowser = (
  traceparent: string | undefined
): { readonly traceparent: string | undefined; readonly options: Tracer.SpanOptionsNoTrace } => {
  const parent = traceparent === undefined ? undefined : fromTraceparent(traceparent)
  return parent === undefined ? noParent : { traceparent, options: { parent } }
}

const noParent = { traceparent: undefined, options: { root: true } }

const pattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/
