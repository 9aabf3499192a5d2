/**
 * What the page says to the person: that something was done or why not, and whether they are sure.
 */

import * as Api from "./api.ts"
import { byId, make as element, makeButton, setText } from "./elements.ts"

/** How many milliseconds a notice stays. */
const duration = 6000

let timer: ReturnType<typeof setTimeout> | undefined

/** Says something for a moment. */
const say = (text: string, isBad = false): void => {
  const notice = byId("notice")
  setText(notice, text)
  notice.className = isBad ? "bad" : ""
  notice.hidden = false
  clearTimeout(timer)
  timer = setTimeout(() => notice.hidden = true, duration)
}

/** A question before something that cannot be taken back. */
export interface Question {
  readonly title: string
  readonly text: string
  /** What the button says that does it. */
  readonly action: string
}

/** Asks whether the person is sure, and calls `onYes` if they are. */
export const ask = ({ action, text, title }: Question, onYes: () => void): void => {
  const dialog = element("dialog", { "aria-labelledby": "question" })
  const answer = (isYes: boolean) => () => {
    dialog.close()
    dialog.remove()
    if (isYes) onYes()
  }
  const no = makeButton({ text: "Cancel" }, answer(false))
  const yes = makeButton({ text: action, className: "danger" }, answer(true))
  dialog.append(
    element("h2", { id: "question" }, title),
    element("p", {}, text),
    element("div", { class: "buttons" }, no, yes)
  )
  dialog.addEventListener("cancel", answer(false))
  document.body.append(dialog)
  dialog.showModal()
}

/** Called when the broker does not accept the cookie. */
let onForbidden = (): void => {}

/** Sets what happens when the broker does not accept the cookie. */
export const whenForbidden = (act: () => void): void => {
  onForbidden = act
}

/** Handles what became of a request that was not done: says why, unless the page as a whole says it. */
export const fail = (outcome: Exclude<Api.Outcome<unknown>, { readonly _tag: "Done" }>): void => {
  if (outcome._tag === "Forbidden") onForbidden()
  else say(outcome._tag === "Refused" ? outcome.message : "The broker does not answer: it was not done.", true)
}

/** Does something at the broker, and says so; a button cannot be clicked again meanwhile. */
export const act = <A = undefined>(
  [method, path]: readonly ["POST" | "DELETE", string],
  { button, done }: { readonly button?: HTMLButtonElement; readonly done: (value: A) => string },
  then: () => void
): void => {
  if (button !== undefined) button.disabled = true
  void Api.send<A>(method, path).then((outcome) => {
    if (button !== undefined) button.disabled = false
    if (outcome._tag === "Done") say(done(outcome.value))
    else fail(outcome)
    then()
  })
}
