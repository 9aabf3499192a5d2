import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertWrong, type Output, run, runProcess, start } from "./program.ts"

const assertStory = ({ status, stderr, stdout }: Output) => {
  assert.strictEqual(stderr, "")
  for (
    const line of [
      "valentina  joins and finds yuri",
      "alexei     joins and finds yuri and valentina",
      "received by yuri, valentina and alexei",
      "alexei     asks: How far is the Moon?",
      "worker     answers into the room: 384,400 kilometres",
      "yuri and valentina receive that alexei has left",
      "kosmonaut -- serve"
    ]
  ) assert.include(stdout, line)
  assert.notInclude(stdout, "\u001b")
  assert.strictEqual(status, 0)
}

describe.concurrent("kosmonaut demo", { timeout: 120_000 }, () => {
  it.live("says what is piped in, also with --once", () =>
    Effect.gen(function*() {
      const output = yield* runProcess(["demo", "--once"], { stdin: "hello, crew\n\nżółw\u001b[1m\nno line end" })
      assertStory(output)
      const said = output.stdout.split("\n").filter((line) => /^ {2}(yuri {7}says|worker {5}answers):/.test(line))
      assert.deepStrictEqual(said.map((line) => line.slice(13)), [
        "says: hello, crew",
        "answers: I copy, 11 characters",
        "says: żółw [1m",
        "answers: I copy, 8 characters",
        "says: no line end",
        "answers: I copy, 11 characters"
      ])
    }))

  it.live("waits for no input that does not come", () =>
    Effect.scoped(Effect.gen(function*() {
      const program = yield* start(["demo"], { stdin: true })
      yield* program.type("one\n")
      const output = yield* program.output
      assertStory(output)
      assert.include(output.stdout, "yuri       says: one")
    })))

  it.effect("is one demo or the other", () =>
    Effect.gen(function*() {
      assertWrong(yield* run(["demo", "--once", "--open"]), "--once and --open are for two different demos")
    }))

  it.live("ends cleanly when interrupted", () =>
    Effect.scoped(Effect.gen(function*() {
      const program = yield* start(["demo"], { stdin: true })
      yield* program.says("stdout", /joins/)
      yield* program.kill("SIGINT")
      const { status, stderr } = yield* program.output
      assert.strictEqual(status, 0)
      assert.strictEqual(stderr, "")
    })))
})
