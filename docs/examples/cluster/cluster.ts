/**
 * A cluster on this machine: redis-server, three nodes, and nginx in front of them. The first and the last have to be installed. Open the
 * URL that it prints in some tabs and chat: each tab says on which node it is.
 *
 * Press Enter to deploy: one node after the other is told to end, and a new one takes its place. The tabs go to other nodes and miss nothing.
 * When this program is told to end, all of it ends.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Config, Console, Deferred, Effect, FileSystem, Schedule, type Scope, Stdio, Stream } from "effect"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import { randomBytes } from "node:crypto"
import { fileURLToPath } from "node:url"

type Program = ChildProcessSpawner.ChildProcessHandle

/** Starts a program and waits until it is ready. It is told to end with the scope, and waited for. */
const start = Effect.fnUntraced(function*<E>(
  isReady: (program: Program) => Effect.Effect<unknown, E, Scope.Scope>,
  command: string,
  args: ReadonlyArray<string>,
  env: Record<string, string> = {}
) {
  const program = yield* ChildProcess.make(command, args, { env, extendEnv: true, stdin: "ignore", stderr: "inherit" })
  const ended = Effect.flatMap(program.exitCode, (status) => Effect.fail(`${command} has ended with status ${status}`))
  yield* Effect.raceFirst(isReady(program), ended)
  return program
})

/** It is ready when it has written this. */
const writes = (text: RegExp) =>
  Effect.fnUntraced(function*({ stdout }: Program) {
    const isWritten = yield* Deferred.make<void>()
    const look = (line: string) => text.test(line) ? Deferred.succeed(isWritten, undefined) : Effect.void
    yield* Effect.forkScoped(Stream.runForEach(stdout.pipe(Stream.decodeText(), Stream.splitLines), look))
    yield* Deferred.await(isWritten)
  })

/** It is ready when this URL has an answer. */
const answers = (url: string) => () =>
  Effect.retry(Effect.tryPromise(() => fetch(url)), { schedule: Schedule.spaced("50 millis") })

/** What `kosmonaut` is on the command line. */
const kosmonaut = process.env["KOSMONAUT_PROGRAM"] ??
  fileURLToPath(new URL("dist/cli/Main.js", import.meta.resolve("kosmonaut/package.json")))

// All nodes and all backends have the same.
const token = randomBytes(20).toString("hex")

const startNode = (host: string, name: string, n: number) =>
  start(writes(/^ready /), process.execPath, [
    ...[kosmonaut, "serve", "--host", host, "--node-name", name, "--vhost", "/chat"],
    ...["--channel-rule", "room open-on-demand history browsers-broadcast"],
    ...["--websocket-port", `800${n}`, "--backend-port", `801${n}`, "--tcp-port", `802${n}`],
    ...["--admin-host", host, "--admin-port", `803${n}`]
  ], {
    KOSMONAUT_REDIS_URL: `redis://${host}:8004`,
    KOSMONAUT_TOKEN: token,
    KOSMONAUT_ADMIN_COOKIE: token
  })

const cluster = Effect.gen(function*() {
  const host = yield* Config.String("HOST").pipe(Config.withDefault("127.0.0.1"))
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped()
  // nginx reads the page as a user of its own if it is started by root.
  yield* fs.chmod(folder, 0o755)

  // Give yours "--appendonly yes", so that what is confirmed outlasts it.
  yield* start(writes(/Ready to accept connections/), "redis-server", [
    ...["--bind", host, "--port", "8004", "--dir", folder, "--save", "", "--maxmemory-policy", "noeviction"]
  ])

  const names = ["one", "two", "three"]
  const nodes = yield* Effect.forEach(names, (name, n) => startNode(host, name, n + 1), { concurrency: "unbounded" })
  const deploy = Effect.forEach(names, (name, n) =>
    Effect.gen(function*() {
      yield* nodes[n]!.kill()
      yield* Console.log(`The node ${name} has ended with status ${yield* nodes[n]!.exitCode}`)
      nodes[n] = yield* startNode(host, name, n + 1)
    }), { discard: true })

  const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))
  const config = yield* fs.readFileString(file("nginx.conf"))
  yield* fs.writeFileString(`${folder}/nginx.conf`, config.replaceAll("127.0.0.1", host))
  yield* fs.copyFile(file("index.html"), `${folder}/index.html`)
  const url = `http://${host}:8000/`
  yield* start(answers(url), "nginx", ["-e", "stderr", "-p", folder, "-c", `${folder}/nginx.conf`])

  yield* Console.log(`Backends connect to wr://${token}@${host}:8011/chat, or 8012, or 8013`)
  yield* Console.log(`Open ${url} in some tabs. Press Enter to deploy`)
  const { stdin } = yield* Stdio.Stdio
  yield* Stream.runForEach(
    stdin.pipe(Stream.decodeText(), Stream.splitLines),
    () => Effect.andThen(deploy, Console.log("All nodes are new"))
  )
  return yield* Effect.never
})

Effect.scoped(cluster).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
