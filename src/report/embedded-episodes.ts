import type { Scene } from '../core/scene.js';
import type { EpisodeRecording } from '../environments/episode-recording.js';

/** The episodes of a page as the text that its script reads. A scene that several have is in it once. */

interface EmbeddedEpisodes {
  readonly scenes: readonly Scene[];
  /** `scene` is the number of its scene. */
  readonly episodes: readonly (Omit<EpisodeRecording, 'scene'> & { readonly scene?: number })[];
}

/** The text for these episodes, in a script element, which nothing in it can end. */
export function embedEpisodes(recordings: readonly EpisodeRecording[]): string {
  const scenes: Scene[] = [];
  const texts: string[] = [];
  const episodes = recordings.map(({ scene, ...rest }) => {
    if (scene === undefined) return rest;
    const text = JSON.stringify(scene);
    if (!texts.includes(text)) {
      texts.push(text);
      scenes.push(scene);
    }
    return { ...rest, scene: texts.indexOf(text) };
  });
  return JSON.stringify({ scenes, episodes } satisfies EmbeddedEpisodes).replaceAll('<', '\\u003c');
}

/** The episodes that `embedEpisodes` was given. */
export function readEmbedded(text: string): EpisodeRecording[] {
  const { scenes, episodes } = JSON.parse(text) as EmbeddedEpisodes;
  return episodes.map(({ scene, ...rest }) =>
    scene === undefined ? rest : { ...rest, scene: scenes[scene] },
  );
}
