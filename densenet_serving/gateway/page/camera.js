// A photo from the camera. Browsers allow it only over https and on localhost.
import { find, make } from "./elements.js";

const JPEG_QUALITY = 0.92;
const video = find("#viewfinder");
let stream = null;
let wanted = null;

export const isThere = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Show what the camera sees. Resolves to false if it was closed while the browser still asked for permission.
 * Throws a DOMException if there is no camera or it may not be used.
 */
export async function open() {
  const asked = (wanted = {});
  const opened = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "environment", width: { ideal: 1280 } },
  });
  if (asked !== wanted) {
    stop(opened);
    return false;
  }
  stream = opened;
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  return true;
}

/** Return what the camera sees now as a File. */
export async function take() {
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}

export function close() {
  wanted = null;
  if (stream) stop(stream);
  stream = null;
  video.srcObject = null;
  video.hidden = true;
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
