import { formatCount, formatNumber } from '../core/format.js';
import { mean } from '../core/statistics.js';
import { groupRuns } from './curves.js';
import { episodePanels, type ShownEpisode } from './episode-panels.js';
import { outcomeOf, type PlayedEpisode, type RunData, termsOf } from './run-data.js';

/** The part of a report in which policies play: which episodes it shows. */

const evaluationNames = { first: 'First', best: 'Best', last: 'Last' } as const;

/** How well a policy did in the evaluation of an episode. */
function evaluatedText(run: RunData, { steps }: PlayedEpisode): string {
  const terms = termsOf([run]);
  const { scores = [] } = run.evaluations.find((evaluation) => evaluation.steps === steps) ?? {};
  return `After ${formatCount(steps)} ${terms.steps}. Mean ${terms.scoreName} of this evaluation: ${formatNumber(mean(scores))}`;
}

/** The first, the best and the last policy of a run. */
function episodesOfRun(run: RunData): ShownEpisode[] {
  return (run.episodes ?? []).map((played) => {
    const title = played.names.map((name, i) => (i === 0 ? evaluationNames[name] : name)).join(' and ');
    const isOnly = played.names.length === Object.keys(evaluationNames).length;
    return {
      title: isOnly ? 'The only evaluation' : `${title} evaluation`,
      about: evaluatedText(run, played),
      episode: played.episode,
    };
  });
}

/** The most labels whose episodes are shown. */
const maxLabels = 4;

/** The last policy of each label: of the seed with the median final score. */
function episodesOfLabels(runs: readonly RunData[]): ShownEpisode[] {
  const shown = groupRuns(runs).flatMap(({ label, runs: own }) => {
    const played = own
      .flatMap((run) => {
        const last = run.episodes?.find(({ names }) => names.includes('last'));
        return last === undefined ? [] : [{ run, last, score: outcomeOf(run).meanScore }];
      })
      .filter(({ score }) => Number.isFinite(score))
      .sort((a, b) => a.score - b.score);
    const middle = played[Math.floor((played.length - 1) / 2)];
    if (middle === undefined) return [];
    const place = played.length === 2 ? 'the lower of 2' : `the middle one of ${played.length}`;
    const seed = own.length > 1 ? `Seed ${middle.run.seed}, ${place}. ` : '';
    return [
      {
        title: label,
        about: `${seed}${evaluatedText(middle.run, middle.last)}`,
        episode: middle.last.episode,
      },
    ];
  });
  return shown.slice(0, maxLabels);
}

/** Episodes of one run, or of what is compared; '' if there are none. */
export async function episodeSection(runs: readonly RunData[], isLive: boolean): Promise<string> {
  const shown = runs.length === 1 ? episodesOfRun(runs[0]!) : episodesOfLabels(runs);
  if (shown.length === 0) return '';
  const note = `The first episode of ${runs.length === 1 ? 'each evaluation' : 'the last evaluation'}. ${termsOf(runs).evaluated}`;
  return `<h2>The policy at work</h2><p class="note">${note}</p>${await episodePanels(shown, !isLive)}`;
}
