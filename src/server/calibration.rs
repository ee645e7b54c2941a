//! What was measured on this machine, kept for later plans: `calibration.toml` beside the builds, to be read and edited by people.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::Bytes;

pub const FILE_NAME: &str = "calibration.toml";

#[derive(Debug, Error)]
pub enum CalibrationError {
    #[error("{path} is not a calibration")]
    Parse { path: String, source: toml::de::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    #[serde(default)]
    pub measured: Vec<Row>,
}

/// One device with one build, as last measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The GPU's name, or `CPU`.
    pub device: String,
    /// `b11434`, or `unknown`.
    pub build: String,
    /// VRAM beyond the buffers that llama.cpp lists; absent without a GPU.
    #[serde(default)]
    pub overhead_bytes: Option<Bytes>,
    /// Measured tokens per second divided by the estimate.
    #[serde(default)]
    pub speed_factor: Option<f64>,
    /// Day of the measurement.
    pub measured: String,
}

impl Calibration {
    /// An absent file is an empty calibration.
    pub fn load(home: &Path) -> Result<Self, CalibrationError> {
        let path = home.join(FILE_NAME);
        match fs_err::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|source| CalibrationError::Parse { path: path.display().to_string(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub fn row(&self, device: &str, build: &str) -> Option<&Row> {
        self.measured.iter().find(|row| row.device == device && row.build == build)
    }

    /// The new row replaces the old one of the same device and build, but for a larger overhead: another model may have
    /// needed more kernels, and too little is what breaks a plan.
    pub fn learn(&mut self, mut row: Row) {
        let old = self.row(&row.device, &row.build).and_then(|old| old.overhead_bytes);
        row.overhead_bytes = row.overhead_bytes.max(old);
        self.measured.retain(|old| old.device != row.device || old.build != row.build);
        self.measured.push(row);
        self.measured.sort_by(|one, two| (&one.device, &one.build).cmp(&(&two.device, &two.build)));
    }

    pub fn save(&self, home: &Path) -> Result<(), CalibrationError> {
        fs_err::create_dir_all(home)?;
        Ok(crate::host::replace::write(&home.join(FILE_NAME), self.text().as_bytes())?)
    }

    /// TOML by hand: four kinds of lines do not need a writer.
    fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from(
            "# What `llama-doctor bench` measured on this machine. Later plans use it and say so; `--no-calibration` ignores it.\n\
             # Edit or delete rows freely.\n",
        );
        for row in &self.measured {
            // JSON's string is a TOML basic string.
            let quoted = |word: &str| serde_json::Value::from(word).to_string();
            let _ = write!(text, "\n[[measured]]\ndevice = {}\nbuild = {}\n", quoted(&row.device), quoted(&row.build));
            if let Some(overhead) = row.overhead_bytes {
                let _ = writeln!(text, "overhead_bytes = {}", overhead.0);
            }
            if let Some(factor) = row.speed_factor {
                let _ = writeln!(text, "speed_factor = {factor:.4}");
            }
            let _ = writeln!(text, "measured = {}", quoted(&row.measured));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_replaced_and_read_back() {
        let home = tempfile::tempdir().unwrap();
        let mut calibration = Calibration::load(home.path()).unwrap();
        let row = |speed| Row {
            device: "NVIDIA \"RTX\" 3090".to_owned(),
            build: "b11434".to_owned(),
            overhead_bytes: Some(Bytes(587_202_560)),
            speed_factor: Some(speed),
            measured: "2026-11-23".to_owned(),
        };
        calibration.learn(row(0.5));
        calibration.learn(row(0.75));
        calibration.learn(Row { device: "CPU".to_owned(), overhead_bytes: None, ..row(1.0) });
        calibration.save(home.path()).unwrap();
        let read = Calibration::load(home.path()).unwrap();
        assert_eq!(read, calibration);
        assert_eq!(read.row("NVIDIA \"RTX\" 3090", "b11434").unwrap().speed_factor, Some(0.75));
        fs_err::write(home.path().join(FILE_NAME), "measured = 1").unwrap();
        assert!(
            Calibration::load(home.path()).unwrap_err().to_string().contains("calibration.toml is not a calibration")
        );
    }
}
