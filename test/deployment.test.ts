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
import { run } from "./cli/program.ts"
import { bound } from "./harness/admin.ts"
import * as Certificates from "./harness/certificates.ts"
import { eventually } from "./harness/eventually.ts"
import * as RawWebSocket from "./harness/RawWebSocket.ts"
import { temporaryFolder } from "./harness/temporaryFolder.ts"
import { TestBroker } from "./harness/TestBroker.ts"
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

const compose = () =>
  parse(read("compose.yaml")) as {
    readonly services: {
      readonly broker: {
        readonly build: { readonly context: string; readonly dockerfile: string }
        readonly command: ReadonlyArray<string>
        readonly stop_grace_period: string
        readonly volumes: ReadonlyArray<string>
      }
    }
  }

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
    const { build, volumes } = compose().services.broker
    assert.strictEqual(join(folder, build.context, build.dockerfile), join(folder, "Dockerfile"))
    const [, storage] = /KOSMONAUT_STORAGE_DIR=(\S+)/.exec(image)!
    assert.include(image, `\nVOLUME ${storage}\n`)
    assert.deepStrictEqual(volumes, [`storage:${storage}`])
    assert.include(read("kubernetes.yaml"), `mountPath: ${storage}\n`)
    assert.include(read("kubernetes.yaml"), `image: ${name}:${version}\n`)
  })

  it("give the broker the time to end that it takes", () => {
    const { stop_grace_period: composed } = compose().services.broker
    assert.isAbove(Number(/^(\d+)s$/.exec(composed)![1]), endOf())
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
      const site = [
        ["127.0.0.1:8080", `127.0.0.1:${broker.websocketPort}`],
        ["listen 443 ssl", `listen 127.0.0.1:${port} ssl`],
        ["/etc/ssl/example.com.pem", Certificates.certOf("server")],
        ["/etc/ssl/private/example.com.key", Certificates.keyOf("server")],
        ["(chat|", "(test|"]
      ].reduce((text, [from, to]) => {
        assert.include(text, from!)
        return text.replace(from!, to!)
      }, read("nginx.conf"))
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
      yield* Effect.acquireRelease(
        Effect.sync(() => spawn("nginx", args, { stdio: "ignore" })),
        (nginx) =>
          Effect.callback<void>((resume) => {
            nginx.on("exit", () => resume(Effect.void))
            nginx.kill("SIGTERM")
          })
      )
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
      // Without a build the broker has no script, and says so as text; nginx would do it as a page.
      assert.match(script.head, /content-type: text\/(javascript|plain)/i)
      const elsewhere = yield* RawWebSocket.connect(port, "/test", {
        ...options,
        headers: { Origin: "https://evil.example" }
      })
      assert.match(elsewhere.head, /^HTTP\/1.1 403/)
    }).pipe(withBroker()))
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
