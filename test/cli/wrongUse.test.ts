import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import * as CommandLine from "../../src/cli/CommandLine.ts"
import { token } from "../harness/TestBroker.ts"
import { assertDiscreet, assertWrong, run, runProcess, runSources } from "./program.ts"

/** Nobody listens there. */
const nowhere = `wr://${token}@127.0.0.1:9/test`

const broadcast = ["broadcast", "room", "--url", nowhere]

/** How it is used wrongly, and what the sentence has to say then. */
const misuses: ReadonlyArray<readonly [args: ReadonlyArray<string>, ...parts: Array<string>]> = [
  [["opne", "room"], `"opne"`, "did you mean open", "--help"],
  [["open", "room"], "--url", "KOSMONAUT_URL"],
  [["open", "--url", nowhere], "channel"],
  [["open", "a", nowhere, "--url", nowhere], "://***@"],
  [["open", "a", "--ulr", nowhere], "--ulr", "--url"],
  [["open", "a", "--url", nowhere, "--url", nowhere], "--url", "once"],
  [["open", "a", "--url", "nowhere"], `"nowhere"`, "wr://"],
  [["open", "a", "--url", nowhere.replace("wr:", "http:")], "http://***@127.0.0.1:9/test", "wr+tcp"],
  [["open", "a", "--url", nowhere.replace("@", "1@")], "***", "40 letters"],
  [["open", nowhere, "--url", nowhere], "451", "***"],
  [["open", "a", "--url", nowhere], "127.0.0.1:9"],
  [["close", "a", "--url", nowhere.replace("wr:", "wr+tcp:")], "127.0.0.1:9"],
  [broadcast, "event", "--stdin"],
  [[...broadcast, "e", `{"a":`], `{"a":`, "not JSON"],
  [[...broadcast, "e", "[1]"], "[1]", "object"],
  [[...broadcast, "e", "{}", "--stdin"], "--stdin"],
  [[...broadcast, "--stdin", "--concurrency", "0"], "--concurrency"],
  [["dead-letters", "replay", "--url", nowhere], "id", "--all"],
  [["dead-letters", "discard", "a", "--all", "--url", nowhere], "id", "--all", "both"],
  [["dead-letters", "discard", "", "--url", nowhere], "456"],
  [["serve", "--fsync"], "--storage-dir"],
  [["serve", "--host", ""], "--host", "needs a value"],
  [["serve", "--channel-rule", "room opne"], "--channel-rule", "opne", "open-on-demand", "history-count"],
  [["serve", "--channel-rule", "room history-count=many"], "--channel-rule", "history-count is a whole number"],
  [["serve", "--channel-rule", "{"], "--channel-rule", "JSON"],
  [
    ["serve", "--channel-rule", "a", "--channel-rule", "room( history"],
    "channelRules.1",
    `"room("`,
    "missing closing )"
  ],
  [["serve", "--channel-rule", `{"pattern":"a","grace":"soon"}`], "channelRules.0.grace", `"soon"`],
  [["token", "", ".*", "--url", nowhere], "400", "user id"]
]

describe("kosmonaut", { timeout: 120_000 }, () => {
  it.live.each(misuses)(
    "says in one sentence what is wrong, and tells no token: %j",
    ([args, ...parts]) => Effect.map(run(args), (output) => assertWrong(output, ...parts))
  )

  it.live("helps with its commands", () =>
    Effect.forEach(
      [[], ["serve"], ["broadcast"], ["listen"], ["dead-letters", "replay"], ["admin", "list-channels"]],
      (command) =>
        Effect.gen(function*() {
          const { status, stderr, stdout } = yield* run([...command, "--help"])
          assert.strictEqual(stderr, "")
          for (const section of ["DESCRIPTION", "USAGE", "FLAGS", "\n\nEXAMPLES"]) {
            assert.include(stdout, section)
          }
          assert.include(stdout, ["kosmonaut", ...command].join(" "))
          assert.strictEqual(stdout.includes("\n\n  What browsers may do:\n"), command[0] === "serve")
          assertDiscreet(stdout)
          assert.strictEqual(status, 0)
        })
    ))

  it("ends no sentence twice", () => {
    assert.deepStrictEqual(["it was lost", "(8080)?", "Give it."].map(CommandLine.sentence), [
      "it was lost.",
      "(8080)?",
      "Give it."
    ])
  })

  it.live("is a program that shows its version, and that has a status for wrong use", () =>
    Effect.gen(function*() {
      const { version } = JSON.parse(readFileSync("package.json", "utf8"))
      const shown = yield* runSources("--version")
      assert.deepStrictEqual(shown, { status: 0, stdout: `kosmonaut v${version}\n`, stderr: "" })
      const [args, ...parts] = misuses[0]!
      assertWrong(yield* runProcess(args), ...parts)
    }))
})
