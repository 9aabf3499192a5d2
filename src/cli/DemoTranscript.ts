/**
 * How the demo is told: aligned lines in chapters, with a touch of colour and small pauses where a person watches.
 *
 * @since 0.1.0
 */

import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

/**
 * A transcript on standard output.
 *
 * @since 0.1.0
 */
export interface Transcript {
  readonly title: (text: string) => Effect.Effect<void>
  readonly chapter: (text: string) => Effect.Effect<void>
  /** Somebody and what they do. */
  readonly line: (who: string, what: string) => Effect.Effect<void>
  /** What came of it. */
  readonly effect: (text: string) => Effect.Effect<void>
  /** What the person can do next. */
  readonly next: (command: string, purpose: string) => Effect.Effect<void>
}

/**
 * Makes a transcript. Colour and pauses are for terminals alone, and no colour where `NO_COLOR` is set.
 *
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(isTerminal: boolean): Effect.fn.Return<Transcript> {
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  const paint = (code: number, text: string) => isTerminal && canColor ? `\u001b[${code}m${text}\u001b[0m` : text
  const put = (text: string) => Effect.andThen(Console.log(text), isTerminal ? Effect.sleep("300 millis") : Effect.void)

  return {
    title: (text) => put(paint(bold, text)),
    chapter: (text) => put(`\n${paint(bold, text)}`),
    line: (who, what) => put(`  ${paint(colors[who] ?? cyan, who.padEnd(column))} ${what}`),
    effect: (text) => put(`  ${" ".repeat(column)} ${paint(dim, `→ ${text}`)}`),
    next: (command, purpose) => put(`  ${paint(cyan, command.padEnd(28))} ${purpose}`)
  }
})

/** The width of the names. */
const column = 10

const bold = 1
const dim = 2
const cyan = 36
const colors: Record<string, number> = { broker: 35, worker: 35, backend: 35, yuri: 32, valentina: 33, alexei: 34 }
