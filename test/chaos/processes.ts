/**
 * The programs that bad things happen to, as processes.
 */
import { Deferred, Effect, Exit } from "effect"
import { spawn } from "node:child_process"
import { createServer } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Bundle from "../harness/bundle.ts"

interface Process {
  readonly tell: (signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT") => void
  readonly write: (line: string) => void
  /** Waits for its end, which is a defect where nobody has told it to end. */
  readonly ended: Effect.Effect<void>
}

/** Starts a program of this folder; `onLine` hears what it says. It is killed with its scope. */
export const start = Effect.fnUntraced(
  function*(program: string, args: ReadonlyArray<string>, onLine: (line: string) => void) {
    const ended = yield* Deferred.make<void>()
    let told = false
    const file = yield* Effect.promise(() => Bundle.of(fileURLToPath(new URL(program, import.meta.url))))
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [file, ...args], {
          env: { ...process.env, ...Bundle.cache },
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    child.on("exit", (code, signal) => {
      const end = told ? Exit.void : Exit.die(new Error(`${program} ended by itself: ${code ?? signal}`))
      Deferred.doneUnsafe(ended, end)
    })
    // One that has been killed reads no more.
    child.stdin.on("error", () => {})
    createInterface({ input: child.stdout }).on("line", onLine)
    const process_: Process = {
      tell: (signal) => {
        told ||= signal === "SIGKILL" || signal === "SIGTERM"
        child.kill(signal)
      },
      write: (line) => void child.stdin.write(`${line}\n`),
      ended: Deferred.await(ended)
    }
    return process_
  }
)

/** A port that is free and that the system gives to no connection meanwhile, as it picks higher ones. */
export const freePort: Effect.Effect<number> = Effect.suspend(() => {
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  return Effect.callback<number>((resume) => {
    const server = createServer()
    server.on("error", () => resume(freePort))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(port))))
  })
})

/** A broker that can be killed and started again, where it was before. */
export const startBroker = Effect.fnUntraced(function*(options: Record<string, unknown>) {
  const faults: Array<string> = []
  const arguments_ = [JSON.stringify(options)]
  const begin = Effect.gen(function*() {
    const ready = yield* Deferred.make<void>()
    const asked: Array<Deferred.Deferred<unknown>> = []
    const running = yield* start("./broker.ts", arguments_, (line) => {
      const said = JSON.parse(line)
      if ("fault" in said) faults.push(`in the broker: ${said.fault}`)
      else if ("ready" in said) Deferred.doneUnsafe(ready, Exit.void)
      else Deferred.doneUnsafe(asked.shift()!, Exit.succeed(said))
    })
    yield* Effect.raceFirst(
      Deferred.await(ready),
      Effect.andThen(running.ended, Effect.die(new Error("The broker was ended before it was up")))
    )
    return { ...running, asked }
  })
  let current = yield* begin
  return {
    /** What has failed in it that must not. */
    faults,
    tell: (signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT") => current.tell(signal),
    /** Asks for something. `undefined` where it is killed before it answers. */
    ask: (line: "state" | "letters"): Effect.Effect<unknown> =>
      Effect.suspend(() => {
        const answer = Deferred.makeUnsafe<unknown>()
        current.asked.push(answer)
        current.write(line)
        return Effect.raceFirst(Deferred.await(answer), Effect.as(current.ended, undefined))
      }),
    /** Kills it, and starts it again. */
    killAndStart: Effect.gen(function*() {
      current.tell("SIGKILL")
      yield* current.ended
      current = yield* begin
    })
  }
})
