#!/usr/bin/env node
/**
 * The command line, `kosmonaut`: a broker to run, a demo to watch, and a Client and a Worker for the shell.
 *
 * This module only prepares: the rest is loaded after it has seen to it that Node.js is new enough and keeps what it compiles,
 * in `kosmonaut` in the user's folder of caches (`XDG_CACHE_HOME`, by default `~/.cache`) or in `NODE_COMPILE_CACHE`, so that
 * the next start need not compile it. Without such a folder, or if it cannot be written, nothing is kept.
 *
 * @since 0.1.0
 */

import * as Module from "node:module"

// Not in the folder of temporary files, which Node.js takes by default: others may write there, and this is code.
const cacheCompiled = ({ HOME, LOCALAPPDATA, XDG_CACHE_HOME }: NodeJS.ProcessEnv): void => {
  const folder = XDG_CACHE_HOME || LOCALAPPDATA || (HOME && `${HOME}/.cache`)
  if (folder) Module.enableCompileCache(`${folder}/kosmonaut`)
}

const [major, minor] = process.versions.node.split(".").map(Number)

// An older one fails later, and not with a sentence.
if (major! > 22 || (major === 22 && minor! >= 19)) {
  cacheCompiled(process.env)
  await import("./Process.ts")
} else {
  process.stderr.write(`kosmonaut: This needs Node.js 22.19 or newer, and runs on ${process.versions.node}\n`)
  process.exitCode = 1
}
