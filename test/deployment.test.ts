/**
 * The files for running a broker, docs/operations: what they name exists, and what can be checked on this machine is right.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { join } from "node:path"
import { parse, parseAllDocuments } from "yaml"
import * as BrokerConfig from "../src/server/BrokerConfig.ts"
import { run, start } from "./cli/program.ts"
import { bound, send } from "./harness/admin.ts"
import * as Certificates from "./harness/certificates.ts"
import { eventually } from "./harness/eventually.ts"
import * as RawWebSocket from "./harness/RawWebSocket.ts"
import { describeWithRedis, start as startRedis } from "./harness/redisServer.ts"
import { temporaryFolder } from "./harness/temporaryFolder.ts"
import { TestBroker, token } from "./harness/TestBroker.ts"
import { withBroker } from "./harness/withBroker.ts"

const root = join(import.meta.dirname, "..")
const folder = join(root, "docs/operations")
const read = (file: string) => Fs.readFileSync(join(folder, file), "utf8")
// Those for Grafana and Prometheus have nothing of it.
const files = Fs.readdirSync(folder).filter((file) => !/^(grafana|prometheus)/.test(file))
const { bin, name, version } = JSON.parse(Fs.readFileSync(join(root, "package.json"), "utf8")) as {
  readonly bin: Record<string, string>
  readonly name: string
  readonly version: string
}

const { drainTime, shutdownTimeout } = Effect.runSync(BrokerConfig.make())
/** After how many seconds `serve` has ended, with these options. */
const endOf = (drain = Duration.toSeconds(drainTime), shutdown = Duration.toSeconds(shutdownTimeout)) =>
  drain + shutdown + 5

/** What is installed; a test without it says so and passes. */
const installed = (program: string): boolean => {
  try {
    execFileSync("which", [program], { stdio: "ignore" })
    return true
  } catch {
    console.log(`not checked, since ${program} is not installed`)
    return false
  }
}

interface Container {
  readonly args: ReadonlyArray<string>
  readonly env: ReadonlyArray<{ readonly name: string; readonly value: string }>
  readonly image: string
  readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } }
}

interface Resource {
  readonly kind: string
  readonly spec: {
    readonly ports: ReadonlyArray<{ readonly port: number; readonly targetPort: string }>
    readonly template: {
      readonly spec: { readonly terminationGracePeriodSeconds: number; readonly containers: readonly [Container] }
    }
  }
}

const resources = () => parseAllDocuments(read("kubernetes.yaml")).map((document) => document.toJS() as Resource)

interface Service {
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly command: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
  readonly stop_grace_period?: string
  readonly volumes?: ReadonlyArray<string>
}

/** The services of a file for Docker Compose that run the broker. */
const brokersOf = (file: string) =>
  Object.entries((parse(read(file), { merge: true }) as { readonly services: Record<string, Service> }).services)
    .filter(([, { build }]) => build !== undefined)

const composed = ["compose.yaml", "compose.cluster.yaml"]

describe("the files for running a broker", () => {
  it.effect("name variables, flags and ports that exist", () =>
    Effect.gen(function*() {
      const { stdout: help } = yield* run(["serve", "--help"])
      const variables = new Set([
        ...BrokerConfig.textOptions.map(({ variable }) => variable),
        ...help.match(/KOSMONAUT_\w+/g) ?? []
      ])
      const ports = BrokerConfig.textOptions.filter(({ path }) => /port$/i.test(path)).map(({ standard }) => standard!)
      let count = 0
      for (const file of files) {
        const text = read(file)
        for (const [variable] of text.matchAll(/KOSMONAUT_\w+/g)) {
          assert.isTrue(variables.has(variable), `${file}: ${variable}`)
          count++
        }
        for (const [, flags] of text.matchAll(/serve((?:"?,? "?[-/\w]+"?)*)/g)) {
          for (const [flag] of flags!.matchAll(/--[\w-]+/g)) assert.include(help, `${flag} `, `${file}: ${flag}`)
        }
        for (const [port] of text.matchAll(/\b80\d\d\b/g)) {
          assert.include([...ports, "8082"], port, `${file}: ${port}`)
          count++
        }
      }
      assert.isAbove(count, 20)
    }))

  it("start the command of the package, as somebody who is not root", () => {
    const program = `node_modules/${name}/${bin["kosmonaut"]!.replace("./", "")}`
    const image = read("Dockerfile")
    assert.include(image, `ENTRYPOINT ["node", "/app/${program}"]`)
    assert.isBelow(image.lastIndexOf("\nFROM "), image.indexOf("\nUSER node\n"))
    assert.match(
      read("kosmonaut.service"),
      new RegExp(`^ExecStart=/usr/bin/node /opt/kosmonaut/${program} serve `, "m")
    )
    assert.match(read("kosmonaut.service"), /^DynamicUser=yes$/m)
    const brokers = composed.flatMap(brokersOf)
    assert.deepStrictEqual(brokers.map(([name]) => name), ["broker", "one", "two"])
    for (const [, { build }] of brokers) {
      assert.strictEqual(join(folder, build!.context, build!.dockerfile), join(folder, "Dockerfile"))
    }
    const [, storage] = /KOSMONAUT_STORAGE_DIR=(\S+)/.exec(image)!
    assert.include(image, `\nVOLUME ${storage}\n`)
    assert.deepStrictEqual(brokers.map(([, { volumes }]) => volumes), [[`storage:${storage}`], undefined, undefined])
    assert.include(read("kubernetes.yaml"), `mountPath: ${storage}\n`)
    assert.include(read("kubernetes.yaml"), `image: ${name}:${version}\n`)
  })

  it("give the broker the time to end that it takes", () => {
    for (const [, { stop_grace_period: time }] of composed.flatMap(brokersOf)) {
      assert.isAbove(Number(/^(\d+)s$/.exec(time!)![1]), endOf())
    }
    assert.isAbove(Number(/^TimeoutStopSec=(\d+)$/m.exec(read("kosmonaut.service"))![1]), endOf())
    const { containers: [{ env }], terminationGracePeriodSeconds } = podOf(resources())
    const [drain, shutdown] = ["KOSMONAUT_DRAIN_TIME", "KOSMONAUT_SHUTDOWN_TIMEOUT"].map((name) =>
      Number(/^(\d+)s$/.exec(env.find((one) => one.name === name)!.value)![1])
    )
    assert.isAbove(terminationGracePeriodSeconds, endOf(drain, shutdown))
  })

  it("have options that the broker accepts", () => {
    for (const { name, value } of podOf(resources()).containers[0].env) {
      const option = BrokerConfig.textOptions.find(({ variable }) => variable === name)!
      assert.notStrictEqual(option.parse(value), undefined, `${name}=${value}`)
    }
  })

  it("ask for health where it is, and name ports of the container", () => {
    const { containers: [container] } = podOf(resources())
    const ports = new Map(container.ports.map(({ containerPort, name }) => [name, containerPort]))
    const probes = Object.entries(container).filter(([key]) => key.endsWith("Probe"))
    assert.deepStrictEqual(
      probes.map(([key, { httpGet }]) => [key, httpGet.path, ports.get(httpGet.port)]),
      [["startupProbe", "/health", 8082], ["livenessProbe", "/health", 8082], ["readinessProbe", "/ready", 8082]]
    )
    const services = resources().filter(({ kind }) => kind === "Service").flatMap(({ spec }) => spec.ports)
    assert.isAbove(services.length, 2)
    for (const { port, targetPort } of services) assert.strictEqual(ports.get(targetPort), port)
    assert.deepStrictEqual(resources().map(({ kind }) => kind), [
      "Secret",
      "StatefulSet",
      "Service",
      "Service",
      "NetworkPolicy"
    ])
  })

  it.live("have a health check that sees whether the broker is alive", () =>
    Effect.gen(function*() {
      const [, json] = /^HEALTHCHECK .* CMD (\[.*\])$/m.exec(read("Dockerfile"))!
      const [, ...args] = JSON.parse(json!) as ReadonlyArray<string>
      const check = (port: number) =>
        Effect.callback<number | null>((resume) => {
          const child = spawn(process.execPath, args.map((arg) => arg.replace("8082", String(port))))
          child.on("exit", (code) => resume(Effect.succeed(code)))
        })
      const { port } = yield* bound
      assert.strictEqual(yield* check(port), 0)
      assert.strictEqual(yield* check(1), 1)
    }).pipe(withBroker({ admin: { port: 0 } })))

  it("have a unit that systemd accepts, and finds well protected", () => {
    if (!installed("systemd-analyze")) return
    const verified = (command: string, ...args: ReadonlyArray<string>) =>
      execFileSync("systemd-analyze", [command, ...args, join(folder, "kosmonaut.service")], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"]
      })
    verified("verify")
    const [, exposure] = /exposure level for kosmonaut.service: ([\d.]+)/.exec(verified("security", "--offline=true"))!
    assert.isBelow(Number(exposure), 3)
  })

  it.live("have a site for nginx that passes WebSockets on, encrypted", () =>
    Effect.gen(function*() {
      if (!installed("nginx")) return
      const { broker } = yield* TestBroker
      const port = yield* freePort
      const directory = yield* temporaryFolder
      const site = replaced("nginx.conf", [
        ["127.0.0.1:8080", `127.0.0.1:${broker.websocketPort}`],
        ["listen 443 ssl", `listen 127.0.0.1:${port} ssl`],
        ["/etc/ssl/example.com.pem", Certificates.certOf("server")],
        ["/etc/ssl/private/example.com.key", Certificates.keyOf("server")],
        ["(chat|", "(test|"]
      ])
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) =>
        `${kind}_temp_path ${directory}/${kind};`
      )
      Fs.writeFileSync(
        join(directory, "nginx.conf"),
        `daemon off; pid ${directory}/pid; error_log stderr; events {} http { access_log off; ${
          temporary.join(" ")
        }\n${site} }`
      )
      const args = ["-p", directory, "-e", "stderr", "-c", join(directory, "nginx.conf")]
      execFileSync("nginx", [...args, "-t"], { stdio: "ignore" })
      yield* running("nginx", args)
      yield* passesOn(port)
    }).pipe(withBroker()))

  it.live("have a site for Caddy that passes WebSockets on, encrypted", () =>
    Effect.gen(function*() {
      if (!installed("caddy")) return
      const { broker } = yield* TestBroker
      const port = yield* freePort
      const directory = yield* temporaryFolder
      const site = replaced("Caddyfile", [
        ["127.0.0.1:8080", `127.0.0.1:${broker.websocketPort}`],
        ["example.com {", `127.0.0.1:${port} {\n tls ${Certificates.certOf("server")} ${Certificates.keyOf("server")}`],
        ["path /chat ", "path /test "]
      ])
      const file = join(directory, "Caddyfile")
      Fs.writeFileSync(file, `{\n admin off\n auto_https off\n storage file_system ${directory}\n}\n${site}`)
      yield* running("caddy", ["run", "--config", file], { HOME: directory, XDG_CONFIG_HOME: directory })
      yield* passesOn(port)
    }).pipe(withBroker()))

  it("have alerts that Prometheus accepts", () => {
    if (!installed("promtool")) return
    execFileSync("promtool", ["check", "rules", join(folder, "prometheus-alerts.yaml")], { stdio: "ignore" })
  })
})

/** What the image runs, as the services of a file for Docker Compose do, but on free ports and with this Redis. */
describeWithRedis("the image, with the environment of Docker Compose", () => {
  it.live.each(composed)("serves by %s", (file) =>
    Effect.gen(function*() {
      const { port: redis } = yield* startRedis()
      const storage = yield* temporaryFolder
      const [, assignments] = /^ENV ((?:.*\\\n)*.*)$/m.exec(read("Dockerfile"))!
      const image: Record<string, string> = Object.fromEntries(
        Array.from(assignments!.matchAll(/(KOSMONAUT_\w+)=(\S+)/g), ([, name, value]) => [name!, value!])
      )
      const free = Object.fromEntries(
        ["WEBSOCKET", "BACKEND", "TCP", "ADMIN"].map((name) => [`KOSMONAUT_${name}_PORT`, "0"])
      )
      const brokers = brokersOf(file)
      for (const [name, { command, environment }] of brokers) {
        const env = { ...image, ...environment, ...free }
        const given = Object.entries(env).map(([name, text]) => [
          name,
          text.replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/, (_, variable: string, kind: string, or: string) =>
            kind === "-" ? or : mine[variable]!)
            .replace("//redis:6379", `//127.0.0.1:${redis}`)
            .replace(image["KOSMONAUT_STORAGE_DIR"]!, storage)
        ])
        const program = yield* start(command, { env: Object.fromEntries(given) })
        const ready = JSON.parse((yield* program.says("stdout", /^ready (.*)\n/m))[1]!)
        assert.deepStrictEqual(ready.vhosts, [{ path: "/chat" }])
        if (brokers.length === 1) {
          assert.isTrue(Fs.existsSync(join(storage, "kosmonaut.db")))
        }
        const { body } = yield* send(Number(new URL(ready.admin).port), "GET", "/ready")
        assert.strictEqual(body, `{"status":"ready"}`, name)
        if (name !== brokers.at(-1)![0]) {
          continue
        }
        const nodes = yield* run(["nodes", "--json", "--address", ready.admin], { env: Object.fromEntries(given) })
        assert.deepStrictEqual(
          nodes.stdout.match(/"name":"\w+"/g)?.toSorted() ?? [],
          brokers.length === 1 ? [] : brokers.map(([name]) =>
            `"name":"${name}"`
          )
        )
      }
      assert.deepStrictEqual(Fs.readdirSync(storage).length > 0, brokers.length === 1)
    }))
})

/** What whoever runs it gives. */
const mine: Readonly<Record<string, string>> = {
  KOSMONAUT_TOKEN: token,
  KOSMONAUT_ADMIN_COOKIE: "0123456789".repeat(4)
}

/** A file with other texts in place of some. */
const replaced = (file: string, texts: ReadonlyArray<readonly [string, string]>) =>
  texts.reduce((text, [from, to]) => {
    assert.include(text, from)
    return text.replace(from, to)
  }, read(file))

/** Runs a program until the scope ends. */
const running = (command: string, args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(command, args, { stdio: "ignore", env: { ...process.env, ...env } })),
    (child) =>
      Effect.callback<void>((resume) => {
        child.on("exit", () => resume(Effect.void))
        child.kill("SIGTERM")
      })
  )

/** A proxy with TLS at this port passes browsers of its own origin on, and the script. */
const passesOn = Effect.fnUntraced(function*(port: number) {
  yield* eventually(isOpen(port), (open) => open)
  const options = { open: Certificates.connect, headers: { Origin: "https://127.0.0.1" } }
  const raw = yield* RawWebSocket.connect(port, "/test?v=1", options)
  assert.match(raw.head, /^HTTP\/1.1 101/)
  assert.include(String((yield* raw.next).payload), ":connected")
  const script = yield* RawWebSocket.connect(port, "/kosmonaut.js", {
    open: Certificates.connect,
    method: "HEAD",
    headers: { Connection: "close", Upgrade: "" }
  })
  // Without a build the broker has no script, and says so as text; a proxy would do it as a page.
  assert.match(script.head, /content-type: text\/(javascript|plain)/i)
  const elsewhere = yield* RawWebSocket.connect(port, "/test", {
    ...options,
    headers: { Origin: "https://evil.example" }
  })
  assert.match(elsewhere.head, /^HTTP\/1.1 403/)
})

const podOf = (resources: ReadonlyArray<Resource>) =>
  resources.find(({ kind }) => kind === "StatefulSet")!.spec.template.spec

const freePort = Effect.callback<number>((resume) => {
  const server = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as Net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

const isOpen = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = Net.connect(port, "127.0.0.1", () => {
      socket.destroy()
      resume(Effect.succeed(true))
    })
    socket.on("error", () => resume(Effect.succeed(false)))
  })
