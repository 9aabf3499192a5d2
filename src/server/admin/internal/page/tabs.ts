/**
 * The panels, one of which is shown: chosen by a tab, by the arrow keys, and by the address of the page.
 */

import { makeButton } from "./elements.ts"
import type { Panel } from "./panels.ts"

/** The tabs of the page. */
export interface Tabs {
  /** Shows the panel with this title, or the first one. */
  readonly show: (title: string | undefined) => void
  /** The panel that is shown. */
  readonly shown: () => Panel
}

/** Puts the tabs into `bar`, and the panels into `place`. */
export const make = (
  { bar, onChoose, panels, place }: {
    readonly bar: HTMLElement
    readonly place: HTMLElement
    readonly panels: ReadonlyArray<Panel>
    readonly onChoose: (panel: Panel) => void
  }
): Tabs => {
  let shown = panels[0]!
  const choose = (panel: Panel) => {
    show(panel.title)
    onChoose(panel)
  }
  const tabs = panels.map((panel) => {
    const tab = makeButton({ text: panel.title }, () => choose(panel))
    tab.id = `tab-${idOf(panel)}`
    tab.setAttribute("role", "tab")
    tab.setAttribute("aria-controls", `panel-${idOf(panel)}`)
    panel.element.id = `panel-${idOf(panel)}`
    panel.element.setAttribute("role", "tabpanel")
    panel.element.setAttribute("aria-labelledby", tab.id)
    return tab
  })
  const show = (title: string | undefined) => {
    shown = panels.find((panel) => panel.title === title) ?? panels[0]!
    for (const [index, panel] of panels.entries()) {
      const isShown = panel === shown
      panel.element.hidden = !isShown
      tabs[index]!.setAttribute("aria-selected", String(isShown))
      tabs[index]!.tabIndex = isShown ? 0 : -1
    }
    shown.restart()
  }
  bar.append(...tabs)
  bar.addEventListener("keydown", ({ key }) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key]
    if (step === undefined) return
    const index = (panels.indexOf(shown) + step + panels.length) % panels.length
    choose(panels[index]!)
    tabs[index]!.focus()
  })
  place.append(...panels.map(({ element }) => element))
  return { show, shown: () => shown }
}

const idOf = ({ title }: Panel): string => title.toLowerCase().replace(" ", "-")
