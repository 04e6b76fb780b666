import { formatCount, formatNumber } from '../../core/format.js';
import { strip, stripWidth } from '../../report/strip.js';
import { policyPath, type WatchData, type WatchedPolicy, type WatchedRun } from '../watch-data.js';
import { BrowserPolicy } from './policy.js';
import { Pusher } from './push.js';
import { pushPoint } from './push-point.js';
import { Stage } from './stage.js';
import { World } from './world.js';

/** The page of `pmpo watch`: policies act in simulators that run here, and a person pushes the bodies. */

/** Steps of the rehearsal by which the camera is chosen, and the longest time that it may take, in milliseconds. */
const rehearsal = { steps: 300, milliseconds: 2000 };
/** Seconds of rest before the next episode. */
const restSeconds = 1;
/** The most steps before a picture: a slow browser plays slower, and does not fall behind. */
const maxStepsPerPicture = 8;

const addressOf = (run: number, name: WatchedPolicy['name']) => `${policyPath(run, name)}${location.search}`;

/** The reward of each step so far as a line. @param length the steps of an episode */
function rewardLine(rewards: readonly number[], length: number): string {
  const [low, high] = [Math.min(0, ...rewards), Math.max(0, ...rewards)];
  const scale = high > low ? (strip.height - 8) / (high - low) : 0;
  const at = (i: number) => (strip.left + (i / Math.max(1, length - 1)) * stripWidth).toFixed(1);
  const points = rewards.map(
    (reward, i) => `${at(i)} ${(strip.height - 4 - (reward - low) * scale).toFixed(1)}`,
  );
  const floor = (strip.height - 4 + low * scale).toFixed(1);
  const line =
    points.length < 2
      ? ''
      : `<path d="M${points.join('L')}" fill="none" stroke="var(--series-0)" stroke-width="1.3"/>`;
  return `<line x1="${strip.left}" x2="${strip.width - strip.right}" y1="${floor}" y2="${floor}" stroke="var(--line)"/>${line}`;
}

/** One run on the page. */
class Panel {
  readonly run: WatchedRun;
  readonly world: World;
  readonly stage: Stage;
  readonly pusher: Pusher;
  /** Steps that are due, in parts of one. */
  due = 0;
  #problem = '';
  readonly #strip: Element;
  readonly #soFar: Element;
  readonly #length: number;

  private constructor(element: HTMLElement, run: WatchedRun, world: World, stage: Stage, pusher: Pusher) {
    this.run = run;
    this.world = world;
    this.stage = stage;
    this.pusher = pusher;
    this.#strip = element.querySelector('.strip') as Element;
    this.#soFar = element.querySelector('.so-far') as Element;
    const steps = Math.min(run.episodeSteps / run.simulatorRepeat, run.maxEpisodeSteps ?? Infinity);
    this.#length = Math.ceil(steps / run.actionRepeat);
  }

  /** Opens a run's simulator, and rehearses an episode for the camera. */
  static async open(element: HTMLElement, index: number, run: WatchedRun, seed: number): Promise<Panel> {
    const policy = await BrowserPolicy.load(addressOf(index, run.policies[0]!.name));
    const world = await World.open(run, policy);
    await world.reset(seed);
    const poses = [world.now];
    const until = performance.now() + rehearsal.milliseconds;
    while (poses.length < rehearsal.steps && !world.isOver && performance.now() < until) {
      // A simulation that diverges ends the rehearsal; the episode will say so.
      await world.step().catch(() => {});
      poses.push(world.now);
    }
    const all = new Float32Array(poses.length * world.now.length);
    for (const [i, row] of poses.entries()) all.set(row, i * row.length);
    const stage = new Stage(
      element.querySelector('.stage') as HTMLElement,
      world,
      all,
      `${run.name}: the simulated bodies`,
    );
    const pusher = new Pusher(world, stage, pushPoint(world.scene, poses));
    return new Panel(element, run, world, stage, pusher);
  }

  async restart(seed: number): Promise<void> {
    this.due = 0;
    this.#problem = '';
    this.pusher.release();
    await this.world.reset(seed);
    this.stage.restart();
  }

  /** Takes a step, under a push. */
  async step(push: ReturnType<Pusher['current']>): Promise<void> {
    if (push !== undefined) this.world.push(push.point, push.force);
    try {
      await this.world.step();
    } catch (error) {
      this.#problem = ` The episode has ended: ${(error as Error).message}.`;
    }
    if (push !== undefined) this.world.push(push.point, [0, 0, 0]);
    this.pusher.passed(this.world.secondsPerStep);
  }

  show(): void {
    const { rewards, isOver } = this.world;
    this.stage.draw(isOver ? 1 : this.due);
    this.#strip.innerHTML = rewardLine(rewards, this.#length);
    const reward = rewards.length === 0 ? '' : ` Reward ${formatNumber(rewards.at(-1))}.`;
    const text = `Return ${isOver ? '' : 'so far '}${formatNumber(this.world.return)} after ${formatCount(rewards.length)} steps${isOver ? ', the end.' : `.${reward}`}${this.#problem}`;
    this.#soFar.textContent = text;
  }
}

/** The page, once everything is loaded. */
class Watch {
  readonly #section: HTMLElement;
  readonly #panels: readonly Panel[];
  readonly #seeds: readonly number[];
  readonly #status: HTMLElement;
  #episode = 0;
  #isPlaying = false;
  /** Whether steps are being taken for a picture. */
  #isBusy = false;
  /** Whether the next picture is on its way. */
  #isScheduled = false;
  #before: number | undefined;
  #rest = 0;
  /** What buttons have asked for, to be done between two pictures. */
  #asked: (() => Promise<void>)[] = [];
  /** Whether the reader wants little motion: nothing plays that was not asked for. */
  readonly #isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;

  constructor(section: HTMLElement, panels: readonly Panel[], seeds: readonly number[]) {
    this.#section = section;
    this.#panels = panels;
    this.#seeds = seeds;
    this.#status = section.querySelector('.status') as HTMLElement;
    const controls = section.querySelector<HTMLElement>('.controls')!;
    controls.hidden = false;
    const on = (act: string, what: () => void) =>
      controls.querySelector(`[data-act=${act}]`)!.addEventListener('click', what);
    on('play', () => {
      if (!this.#isPlaying) this.#goOn();
      this.#play(!this.#isPlaying);
    });
    on('restart', () => this.#ask(() => this.#start(this.#episode)));
    on('next', () => this.#ask(() => this.#start(this.#episode + 1)));
    on('left', () => this.#shove(-1));
    on('right', () => this.#shove(1));
    for (const [i, panel] of panels.entries()) this.#listen(i, panel);
    const refresh = () => {
      for (const { stage } of panels) stage.refresh();
      // A canvas of another size is empty.
      if (!this.#isBusy) for (const panel of panels) panel.show();
    };
    new ResizeObserver(refresh).observe(section);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', refresh);
  }

  get #speed(): number {
    return Number(this.#section.querySelector<HTMLSelectElement>('[name=speed]')!.value);
  }

  get #strength(): number {
    return Number(this.#section.querySelector<HTMLInputElement>('[name=strength]')!.value);
  }

  get #isAlike(): boolean {
    return this.#section.querySelector<HTMLInputElement>('[name=alike]')?.checked ?? false;
  }

  /** Whether the episodes of all worlds have ended. */
  get #isOver(): boolean {
    return this.#panels.every(({ world }) => world.isOver);
  }

  #listen(index: number, { run, pusher, world }: Panel): void {
    const view = this.#section.querySelectorAll<HTMLElement>('.view')[index]!;
    const stage = view.querySelector<HTMLElement>('.stage')!;
    stage.addEventListener('pointerdown', (event) => {
      if (world.isOver || !pusher.grab(event)) return;
      event.preventDefault();
      stage.setPointerCapture(event.pointerId);
      if (!this.#isPlaying) this.#play(true);
    });
    stage.addEventListener('pointermove', (event) => pusher.pull(event));
    for (const end of ['pointerup', 'pointercancel'] as const)
      stage.addEventListener(end, () => pusher.release());
    const choice = view.querySelector<HTMLSelectElement>('[name=policy]')!;
    choice.addEventListener('change', () =>
      this.#ask(async () => {
        const next = await BrowserPolicy.load(addressOf(index, choice.value as WatchedPolicy['name']));
        await world.policy.close();
        world.policy = next;
        this.#say(`${run.name}: the ${choice.value} policy acts.`);
      }),
    );
  }

  #shove(direction: number): void {
    this.#goOn();
    this.#ask(async () => {
      for (const panel of this.#isAlike ? this.#panels.slice(0, 1) : this.#panels)
        panel.pusher.shove(direction);
    });
    if (!this.#isPlaying) this.#play(true);
  }

  /** After the end of an episode the next one starts. */
  #goOn(): void {
    if (this.#isOver) this.#ask(() => this.#start(this.#episode + 1));
  }

  #ask(what: () => Promise<void>): void {
    this.#asked.push(what);
    // A page that does not play does it now.
    if (!this.#isPlaying) void this.#picture();
  }

  #say(text: string): void {
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  /** Starts an episode in all worlds. @param episode its number among those of an evaluation; after the last comes the first */
  async #start(episode: number): Promise<void> {
    this.#episode = episode % this.#seeds.length;
    this.#rest = 0;
    for (const panel of this.#panels) await panel.restart(this.#seeds[this.#episode]!);
    this.#say(`Episode ${this.#episode + 1} of the ${this.#seeds.length} of an evaluation.`);
  }

  #play(on: boolean): void {
    this.#isPlaying = on;
    this.#section.dataset.playing = String(on);
    this.#section.querySelector('[data-act=play]')!.setAttribute('aria-label', on ? 'Pause' : 'Play');
    this.#before = undefined;
    if (!on) return;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || !this.#isPlaying) return;
    this.#isScheduled = true;
    requestAnimationFrame((now) => void this.#tick(now));
  }

  async #tick(now: number): Promise<void> {
    // After a pause, such as a hidden page, time goes on from here.
    const seconds = this.#before === undefined ? 0 : Math.min(0.1, (now - this.#before) / 1000);
    this.#before = now;
    if (this.#isPlaying) await this.#picture(seconds * this.#speed);
    this.#isScheduled = false;
    this.#schedule();
  }

  /** Does what was asked for, takes the steps that are due, and draws. @param seconds of the simulators since the last picture */
  async #picture(seconds = 0): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let what = this.#asked.shift(); what !== undefined; what = this.#asked.shift()) await what();
      for (const panel of this.#panels) panel.due += seconds / panel.world.secondsPerStep;
      for (let i = 0; i < maxStepsPerPicture; i++) await this.#stepDue();
      for (const panel of this.#panels) panel.due = Math.min(panel.due, 1);
      for (const panel of this.#panels) panel.show();
      if (this.#isOver) await this.#endEpisode(seconds / this.#speed);
    } catch (error) {
      this.#say((error as Error).message);
    } finally {
      this.#isBusy = false;
    }
    // What was asked for in the meantime waits for the next picture, of which a page that does not play has none.
    if (this.#asked.length > 0 && !this.#isPlaying) await this.#picture();
  }

  /** After the end of all episodes: the next ones start by themselves, or when the reader wants it. @param seconds since the last picture */
  async #endEpisode(seconds: number): Promise<void> {
    this.#rest += seconds;
    if (this.#isStill) this.#play(false);
    else if (this.#rest >= restSeconds) await this.#start(this.#episode + 1);
  }

  /** One step of each world for which one is due. */
  async #stepDue(): Promise<void> {
    const pushes = this.#panels.map(({ pusher }) => pusher.current(this.#strength));
    const common = this.#isAlike ? pushes.find((push) => push !== undefined) : undefined;
    for (const [i, panel] of this.#panels.entries()) {
      if (panel.due < 1) continue;
      panel.due -= 1;
      await panel.step(common ?? pushes[i]);
    }
  }

  /** Begins: playing, or still for those who want that. */
  async begin(): Promise<void> {
    await this.#start(0);
    for (const panel of this.#panels) panel.show();
    this.#play(!this.#isStill);
    if (!this.#panels.every(({ stage }) => stage.canPick))
      this.#say('Bodies cannot be dragged, because this browser has no WebGL. The buttons push them.');
  }
}

/** Loads the runs of this page, and lets their policies act. */
export async function watch(): Promise<void> {
  const section = document.querySelector<HTMLElement>('.watch');
  const text = document.querySelector('.watch-data')?.textContent;
  if (section === null || text === undefined || text === null) return;
  const status = section.querySelector('.status') as HTMLElement;
  try {
    const { runs, seeds } = JSON.parse(text) as WatchData;
    const views = section.querySelectorAll<HTMLElement>('.view');
    const panels: Panel[] = [];
    for (const [i, run] of runs.entries()) panels.push(await Panel.open(views[i]!, i, run, seeds[0]!));
    await new Watch(section, panels, seeds).begin();
  } catch (error) {
    status.textContent = `The page cannot show the runs: ${(error as Error).message}`;
  }
}
